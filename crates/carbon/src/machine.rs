//! This machine and its processes, as the system tells them.

mod host;
pub(crate) mod host_lock;
pub mod memory;
mod proc;

pub use host::Host;
pub(crate) use proc::{Identity, KnownOutsideTree, Machine, Memory, Ticks, Tree};
