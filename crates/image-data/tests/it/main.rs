//! Data sets as users have them: written here as files, read through the public interface.

mod data;
mod decoding;
mod loading;
mod rendering;
mod reports;
mod sources;
