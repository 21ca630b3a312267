//! Encrypted connections: rustls on ring, trusting Mozilla's roots, as compiled in.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::{HttpError, error::NO_TLS};

/// One configuration for all clients: its roots are some hundred kB.
static CONFIG: OnceLock<Option<ClientConfig>> = OnceLock::new();

/// Errors: ring offers no version of TLS, which would be a defect of the build.
pub(crate) fn config() -> Result<ClientConfig, HttpError> {
    CONFIG.get_or_init(build).clone().ok_or_else(|| HttpError::unreachable(NO_TLS))
}

fn build() -> Option<ClientConfig> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = builder.with_safe_default_protocol_versions().ok()?;
    Some(versions.with_root_certificates(roots).with_no_client_auth())
}
