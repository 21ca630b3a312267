//! Models of the Hugging Face Hub: fetched into the cache that the official Python client uses too, and published.
//!
//! `hf-hub` knows the layout of the cache. Its requests have no time limits, lose the reason of a refusal and never compare
//! what came with what was promised, so that requests (over `http-client`), resumption and checks are ours.

mod cache;
mod client;
mod download;
mod error;
mod files;
mod model;
mod publish;
mod refusal;
mod settings;
mod watch;

pub use self::{
    cache::cached_models,
    error::{HubError, Result},
    files::Parts,
    model::{FetchModel, Snapshot, cached, fetch_model},
    publish::{Publication, Published, Visibility, check_permission, check_publication, publish},
    settings::{DEFAULT_ENDPOINT, HubSettings, Token},
    watch::TransferControl,
};
