//! The platforms that greentune works with, behind plain blocking calls: so far downloads from the Hugging Face Hub.
//!
//! Nothing here reads the environment: where the cache is, which endpoint answers and with which token comes in
//! [`hub::HubSettings`].

pub mod hub;
