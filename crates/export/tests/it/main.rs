//! Exports of tiny random models, through the public interface.

mod adapter_config;
mod adapters;
mod fixture;
mod merged;
mod refusals;
