//! Which machine is looked at.

use std::path::PathBuf;

use super::proc::Machine;

/// Where a meter looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Folder that holds `proc` and `sys`: `/`, or a made-up tree.
    pub root: PathBuf,
    /// Look for NVIDIA GPUs.
    pub nvml: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self { root: PathBuf::from("/"), nvml: true }
    }
}

impl Host {
    /// The processor's name (empty when unknown) and its hardware threads (0 when unknown), as rows of emissions
    /// have them.
    pub fn processor(&self) -> (String, u32) {
        let identity = Machine::new(&self.root).identity();
        (identity.cpu_model, identity.threads.unwrap_or_default())
    }
}
