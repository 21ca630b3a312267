#![allow(missing_docs)]

mod files;
mod limits;
mod places;
mod server;
