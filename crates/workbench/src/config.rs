//! What a front end (command line, server) passes to the workbench.

use std::{ffi::OsString, fmt, path::PathBuf};

use greentune_carbon::MeterEnvironment;
use greentune_core_config::resolve::Argument;

use crate::{HubSettings, TrackingConfig};

/// Variables that hold credentials; their values are shown nowhere.
#[derive(Clone, Default)]
pub struct Secrets(pub Vec<(String, String)>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Everything that the workbench needs to know of its surroundings; it reads no environment itself.
#[derive(Clone, Debug)]
pub struct WorkbenchConfig {
    /// `GREENTUNE_HOME`: where the index of runs lies. Created when absent.
    pub home: PathBuf,
    /// `GREENTUNE_STATE_URL`: `sqlite:PATH`; `{home}/state.db` when absent.
    pub state_url: Option<String>,
    /// The worker's program and first arguments, such as `[greentune, worker]`.
    pub worker_command: Vec<OsString>,
    /// The environment of a worker, all of it: it inherits nothing from this process.
    pub worker_environment: Vec<(String, String)>,
    /// Variables with credentials, which a worker gets besides when it trains or meters.
    pub worker_secrets: Secrets,
    /// The user's configuration file, when there is one.
    pub user_config: Option<PathBuf>,
    /// Environment variables; those called `GREENTUNE_*` with `__` between levels are settings.
    pub environment: Vec<(String, String)>,
    /// Settings given as flags.
    pub arguments: Vec<Argument>,
    /// Folders outside of which no path of a request may lie; any path is allowed when absent.
    pub allowed_roots: Option<Vec<PathBuf>>,
    /// The user's home folder, for `~` in paths of settings.
    pub user_home: Option<PathBuf>,
    /// The Hugging Face Hub, its cache and who asks; without more the public Hub and a cache in `home`.
    pub hub: HubSettings,
    /// What surrounds a meter; by default no live figures of carbon intensity are had, and all GPUs count.
    pub meter: MeterEnvironment,
    /// Trackers as the environment names them.
    pub tracking: TrackingConfig,
}

impl WorkbenchConfig {
    /// A configuration with `home` and `worker_command`, and nothing else.
    pub fn new(home: impl Into<PathBuf>, worker_command: Vec<OsString>) -> Self {
        let home = home.into();
        Self {
            hub: HubSettings::new(home.join("huggingface/hub")),
            home,
            state_url: None,
            worker_command,
            worker_environment: Vec::new(),
            worker_secrets: Secrets::default(),
            user_config: None,
            environment: Vec::new(),
            arguments: Vec::new(),
            allowed_roots: None,
            user_home: None,
            meter: MeterEnvironment::default(),
            tracking: TrackingConfig::default(),
        }
    }
}
