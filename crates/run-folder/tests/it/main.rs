//! A run's folder through its public interface.

mod folder;
mod manifests;
mod views;
mod writing;
