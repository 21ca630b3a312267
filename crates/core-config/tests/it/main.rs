//! The tests of this crate's public face.

mod layers;
mod mistakes;
