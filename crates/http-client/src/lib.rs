//! The one HTTP client of greentune, over reqwest, behind blocking calls.
//!
//! A [`Client`] has time limits for connecting, for the answer, for a body that stands still and for the whole exchange.
//! It sends its [`Credential`] to one host and port and to nobody else. It follows redirects only when told to, never from
//! https to http, and a bounded number of times. Bodies are read up to a limit. An [`Answer`] of any status is an answer;
//! [`Answer::checked`] turns one that says no into an error. [`Backoff`] says how long to wait before the next attempt.
//!
//! Nothing here reads the environment: a [`Proxy`] is passed in.

mod address;
mod answer;
mod backoff;
mod client;
mod credential;
mod error;
mod file_part;
mod proxy;
mod redirect;
mod runtime;
mod tls;
mod token_hosts;

pub use address::{Address, Origin};
pub use answer::Answer;
pub use backoff::{Backoff, jittered};
pub use bytes::Bytes;
pub use client::{Client, Limits, Redirects, Request, Settings};
pub use credential::Credential;
pub use error::{HttpError, Phase};
pub use file_part::FilePart;
pub use proxy::Proxy;
pub use token_hosts::TokenHosts;
