//! Exports of tiny random models, through the public interface.

mod adapter_config;
mod adapters;
mod classifiers;
mod fixture;
mod gguf;
mod gguf_reader;
mod merged;
mod mlx;
mod refusals;
