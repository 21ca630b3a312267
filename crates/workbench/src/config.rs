//! What a front end (command line, server) passes to the workbench.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use greentune_carbon::MeterEnvironment;
use greentune_core_config::resolve::Argument;

use crate::{HubSettings, TrackingConfig, TrackingCredentials};

/// Variables that hold credentials; their values are shown nowhere.
#[derive(Clone, Default)]
pub struct Secrets(pub Vec<(String, String)>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(names(&self.0)).finish()
    }
}

fn names(variables: &[(String, String)]) -> impl Iterator<Item = &String> {
    variables.iter().map(|(name, _)| name)
}

/// Everything that the workbench needs to know of its surroundings; it reads no environment itself.
///
/// `Debug` shows the names of variables without their values, and of `state_url` the scheme alone: both may hold passwords.
#[derive(Clone)]
pub struct WorkbenchConfig {
    /// `GREENTUNE_HOME`: where the index of runs lies. Created when absent.
    pub home: PathBuf,
    /// `GREENTUNE_STATE_URL`: `sqlite:PATH`; `{home}/state.db` when absent.
    pub state_url: Option<String>,
    /// Whether the index of runs stays open between calls, as suits a process that answers many.
    pub keeps_index_open: bool,
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
            keeps_index_open: false,
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

    /// The configuration for somebody else than the user, whose home is `home` and who may use `allowed` besides: an index of
    /// runs and a cache of models of their own, the user's settings, and none of the user's credentials.
    #[must_use]
    pub fn for_account(&self, home: &Path, allowed: &[PathBuf]) -> Self {
        let mut account = Self {
            home: home.to_owned(),
            state_url: None,
            worker_secrets: Secrets::default(),
            allowed_roots: Some(allowed.iter().cloned().chain([home.join("projects")]).collect()),
            ..self.clone()
        };
        account.hub.cache = home.join("huggingface/hub");
        account.hub.token = None;
        account.meter.live.token = None;
        account.tracking.credentials = TrackingCredentials {
            proxy: self.tracking.credentials.proxy.clone(),
            wandb_base_url: self.tracking.credentials.wandb_base_url.clone(),
            ..TrackingCredentials::default()
        };
        account
    }
}

impl fmt::Debug for WorkbenchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            home,
            state_url,
            keeps_index_open,
            worker_command,
            worker_environment,
            worker_secrets,
            user_config,
            environment,
            arguments,
            allowed_roots,
            user_home,
            hub,
            meter,
            tracking,
        } = self;
        let scheme = state_url.as_ref().map(|url| url.split(':').next().unwrap_or_default());
        f.debug_struct("WorkbenchConfig")
            .field("home", home)
            .field("state_url", &scheme)
            .field("keeps_index_open", keeps_index_open)
            .field("worker_command", worker_command)
            .field("worker_environment", &names(worker_environment).collect::<Vec<_>>())
            .field("worker_secrets", worker_secrets)
            .field("user_config", user_config)
            .field("environment", &names(environment).collect::<Vec<_>>())
            .field("arguments", arguments)
            .field("allowed_roots", allowed_roots)
            .field("user_home", user_home)
            .field("hub", hub)
            .field("meter", meter)
            .field("tracking", tracking)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let mut config = WorkbenchConfig::new("/nowhere", Vec::new());
        let variable =
            || vec![(String::from("GREENTUNE_STATE_URL"), String::from("redis://user:secret@host"))];
        config.state_url = Some(String::from("redis://user:secret@host"));
        (config.environment, config.worker_environment) = (variable(), variable());
        config.worker_secrets = Secrets(variable());
        let shown = format!("{config:?}");
        assert!(shown.contains("Some(\"redis\")") && !shown.contains("secret@"), "{shown}");
    }

    #[test]
    fn an_account_shares_neither_index_nor_models_nor_credentials_with_the_user() {
        let mut user = WorkbenchConfig::new("/home", vec![OsString::from("worker")]);
        user.state_url = Some(String::from("sqlite:/shared.db"));
        user.worker_secrets = Secrets(vec![(String::from("WANDB_API_KEY"), String::from("secret"))]);
        user.hub.token = crate::Token::new("secret", "HF_TOKEN");
        user.tracking.credentials.mlflow_password = Some(String::from("secret"));
        user.tracking.credentials.artifact_folders = vec![PathBuf::from("/mlflow")];
        user.allowed_roots = Some(vec![PathBuf::from("/user")]);
        user.environment = vec![(String::from("GREENTUNE_LORA__RANK"), String::from("4"))];
        let account = user.for_account(Path::new("/home/accounts/ada"), &[PathBuf::from("/data")]);
        let roots = ["/data", "/home/accounts/ada/projects"].map(PathBuf::from);
        assert_eq!(account.allowed_roots.as_deref(), Some(&roots[..]));
        assert_eq!(account.hub.cache, Path::new("/home/accounts/ada/huggingface/hub"));
        assert_eq!((account.state_url, account.hub.token), (None, None));
        assert!(account.worker_secrets.0.is_empty() && account.meter.live.token.is_none());
        assert_eq!(account.tracking.credentials.mlflow_password, None);
        assert!(account.tracking.credentials.artifact_folders.is_empty());
        assert_eq!((account.environment, account.worker_command), (user.environment, user.worker_command));
    }
}
