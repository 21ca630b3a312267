//! What greentune's tests stand on: services that really serve, without the internet.

#[cfg(all(unix, feature = "fake-worker"))]
pub mod elsewhere;
pub mod fake_hub;
#[cfg(all(unix, feature = "fake-worker"))]
pub mod fake_worker;
