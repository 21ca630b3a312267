//! Data sets as users have them: written here as files, read through the public interface.

mod data;
mod decoding;
mod layouts;
mod loading;
mod mirroring;
mod rendering;
mod reports;
mod sources;
