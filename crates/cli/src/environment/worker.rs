//! What a worker gets of the environment: what it needs to run, and credentials apart.

use greentune_workbench::Secrets;

use super::Environment;

/// A training step frees and allocates the same large blocks again and again. The worker's allocator (mimalloc) keeps
/// them: giving them back to the system would make it clear every page anew. It also uses large pages where it may
/// (docs/benchmarks/training.md has the effect). The user's environment takes precedence.
const ALLOCATOR: &[(&str, &str)] = &[
    ("MIMALLOC_PURGE_DELAY", "-1"),
    ("MIMALLOC_ALLOW_LARGE_OS_PAGES", "1"),
    ("MIMALLOC_ARENA_RESERVE", "4GiB"),
];

/// Variables that every worker needs: places, language, time zone, logs, servers.
const NEEDED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "USERNAME",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "SYSTEMROOT",
    "WINDIR",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "NO_COLOR",
    "MLFLOW_TRACKING_URI",
    "WANDB_BASE_URL",
    "WANDB_MODE",
];
/// Beginnings of such variables: settings, places, devices, threads.
const NEEDED_BEGINNINGS: &[&str] = &[
    "GREENTUNE_",
    "XDG_",
    "LC_",
    "MIMALLOC_",
    "RAYON_",
    "OMP_",
    "CUDA_",
    "NVIDIA_",
    "ROCR_",
    "HIP_",
    "HSA_",
    "WGPU_",
    "VK_",
    "MESA_",
    "LIBGL_",
    "CUBECL_",
    "BURN_",
];
/// Variables of those beginnings that may hold a password and that no worker needs.
const NOT_NEEDED: &[&str] = &["GREENTUNE_STATE_URL", "GREENTUNE_ARTIFACTS_URL"];
/// Variables that hold or may hold credentials, for what a training run talks to.
const SECRETS: &[&str] = &[
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "WANDB_API_KEY",
    "ELECTRICITY_MAPS_TOKEN",
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

impl Environment {
    /// The environment of every worker.
    pub(super) fn of_worker(&self) -> Vec<(String, String)> {
        let is_needed = |name: &str| {
            NEEDED.contains(&name)
                || (NEEDED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
                    && !NOT_NEEDED.contains(&name))
        };
        let known = self.variables.iter().filter(|(name, _)| is_needed(name)).cloned();
        let unset = ALLOCATOR.iter().filter(|(name, _)| self.variable(name).is_none());
        known.chain(unset.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
    }

    /// What a worker that trains or meters gets besides.
    pub(super) fn secrets_of_worker(&self) -> Secrets {
        Secrets(self.variables.iter().filter(|(name, _)| SECRETS.contains(&name.as_str())).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;

    #[test]
    fn a_worker_gets_what_it_needs_and_no_secret_of_others() {
        let variables = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("CUDA_VISIBLE_DEVICES", "0"),
            ("GREENTUNE_LORA__RANK", "4"),
            ("AWS_SECRET_ACCESS_KEY", "canary"),
            ("HF_TOKEN", "canary"),
            ("GITHUB_TOKEN", "canary"),
            ("ANTHROPIC_API_KEY", "canary"),
            ("GREENTUNE_STATE_URL", "redis://user:canary@host"),
            ("WANDB_API_KEY", "key"),
            ("https_proxy", "http://user:password@proxy"),
        ];
        let config = environment(&variables).workbench_config().map_err(|_| "no configuration").unwrap();
        let names: Vec<_> = config.worker_environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..4], ["PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "GREENTUNE_LORA__RANK"]);
        assert!(names[4..].iter().all(|name| name.starts_with("MIMALLOC_")), "{names:?}");
        let secrets: Vec<_> = config.worker_secrets.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(secrets, ["WANDB_API_KEY", "https_proxy"]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("key\"") && !shown.contains("password@"), "{shown}");
    }
}
