//! Exports of tiny random models, through the public interface.

mod adapter_config;
mod adapters;
mod classifiers;
mod fixture;
mod gguf;
mod gguf_reader;
mod gguf_tokenizers;
mod merged;
mod mlx;
mod model;
mod readable_adapters;
mod refusals;
