#![allow(missing_docs)]

mod limits;
mod places;
mod server;
