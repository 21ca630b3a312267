//! What surrounds a meter: the token of Electricity Maps, the cache of live figures, the GPUs that may be seen.

use std::path::PathBuf;

use greentune_carbon::intensity::Secret;

use super::Environment;

/// Token of Electricity Maps.
const TOKEN: &str = "ELECTRICITY_MAPS_TOKEN";
/// The GPUs that CUDA shows to a program, by index or UUID.
const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

impl Environment {
    /// The token of Electricity Maps.
    pub fn electricity_maps_token(&self) -> Option<Secret> {
        self.variable(TOKEN).and_then(Secret::new)
    }

    /// Where live figures of carbon intensity are kept for every run of this user.
    pub fn carbon_cache(&self) -> Option<PathBuf> {
        Some(self.base_folder("XDG_CACHE_HOME", "LOCALAPPDATA", ".cache")?.join("carbon-intensity.json"))
    }

    /// The GPUs that count; all when absent.
    pub fn visible_gpus(&self) -> Option<Vec<String>> {
        let listed = self.variables.iter().find(|(name, _)| name == VISIBLE_GPUS)?;
        Some(listed.1.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect())
    }
}
