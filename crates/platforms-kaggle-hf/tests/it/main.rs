//! Downloads from a Hub on this machine, into a cache of their own.

mod misbehaviour;
mod models;
mod place;
mod publishing;
