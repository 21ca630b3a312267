//! What surrounds a meter: the token of Electricity Maps, the cache of live figures, the GPUs that may be seen.

use greentune_carbon::{
    MeterEnvironment,
    intensity::{LiveAccess, Secret},
};

use super::Environment;

/// Token of Electricity Maps.
const TOKEN: &str = "ELECTRICITY_MAPS_TOKEN";
/// The GPUs that CUDA shows to a program, by index or UUID.
const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

impl Environment {
    /// What a meter's settings do not say. Live figures are kept for all runs of this user.
    pub fn meter(&self) -> MeterEnvironment {
        let cache = self.base_folder("XDG_CACHE_HOME", "LOCALAPPDATA", ".cache");
        MeterEnvironment {
            live: LiveAccess {
                token: self.variable(TOKEN).and_then(Secret::new),
                token_hosts: self.token_hosts("carbon.emissions_endpoint"),
                cache: cache.map(|folder| folder.join("carbon-intensity.json")),
                proxy: self.proxy(),
            },
            gpu_ids: self.visible_gpus(),
        }
    }

    /// An empty variable hides every GPU.
    fn visible_gpus(&self) -> Option<Vec<String>> {
        let listed = self.variables.iter().find(|(name, _)| name == VISIBLE_GPUS)?;
        Some(listed.1.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;

    #[test]
    fn an_empty_list_of_gpus_is_none_of_them_and_no_list_is_all() {
        let visible = |variables: &[(&str, &str)]| environment(variables).meter().gpu_ids;
        assert_eq!(visible(&[]), None);
        assert_eq!(visible(&[("CUDA_VISIBLE_DEVICES", "")]), Some(vec![]));
        let two = ["0", "GPU-ab"].map(String::from).to_vec();
        assert_eq!(visible(&[("CUDA_VISIBLE_DEVICES", "0, GPU-ab")]), Some(two));
    }

    #[test]
    fn the_token_is_taken_and_never_shown() {
        let surroundings = environment(&[("ELECTRICITY_MAPS_TOKEN", "em_secret")]).meter();
        assert!(surroundings.live.token.is_some());
        assert!(!format!("{surroundings:?}").contains("em_secret"));
        assert!(surroundings.live.cache.unwrap().ends_with("greentune/carbon-intensity.json"));
    }
}
