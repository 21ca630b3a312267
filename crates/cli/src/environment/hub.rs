//! The Hugging Face Hub's own variables, with the meaning that the official Python client gives them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use greentune_workbench::{HubSettings, Token};

use super::Environment;

/// Where everything of the Hub is kept; the cache is `hub` in it.
const HF_HOME: &str = "HF_HOME";
/// The cache alone; the second name is an older one.
const CACHES: [&str; 2] = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"];
/// Address of the Hub or of a mirror.
const ENDPOINT: &str = "HF_ENDPOINT";
/// The token; the second name is an older one.
const TOKENS: [&str; 2] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
/// File with the token; `token` in `HF_HOME` when not set.
const TOKEN_PATH: &str = "HF_TOKEN_PATH";
/// Whether a token is sent only when it is asked for, which greentune never does.
const NO_IMPLICIT_TOKEN: &str = "HF_HUB_DISABLE_IMPLICIT_TOKEN";
/// Whether the network must not be used.
const OFFLINE: [&str; 2] = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
/// Seconds that an answer may take.
const ANSWER_TIMEOUT: &str = "HF_HUB_ETAG_TIMEOUT";
/// Seconds that a download may stand still.
const READ_TIMEOUT: &str = "HF_HUB_DOWNLOAD_TIMEOUT";

impl Environment {
    /// The Hub as its variables describe it; `greentune_home` holds the cache when no home folder is known.
    pub(super) fn hub(&self, greentune_home: &Path) -> HubSettings {
        let home = self.hf_home().unwrap_or_else(|| greentune_home.join("huggingface"));
        let cache = CACHES.iter().find_map(|name| self.folder(name)).unwrap_or_else(|| home.join("hub"));
        let mut hub = HubSettings::new(cache);
        if let Some(endpoint) = self.variable(ENDPOINT) {
            endpoint.trim_end_matches('/').clone_into(&mut hub.endpoint);
        }
        hub.offline = OFFLINE.iter().any(|name| self.is_on(name));
        hub.token = if self.is_on(NO_IMPLICIT_TOKEN) { None } else { self.token(&home) };
        hub.proxy = self.proxy();
        hub.answer_timeout = self.seconds(ANSWER_TIMEOUT).unwrap_or(hub.answer_timeout);
        hub.read_timeout = self.seconds(READ_TIMEOUT).unwrap_or(hub.read_timeout);
        hub
    }

    fn hf_home(&self) -> Option<PathBuf> {
        let in_cache = || Some(self.folder("XDG_CACHE_HOME")?.join("huggingface"));
        let in_home = || Some(self.user_home.as_ref()?.join(".cache/huggingface"));
        self.folder(HF_HOME).or_else(in_cache).or_else(in_home)
    }

    fn token(&self, hf_home: &Path) -> Option<Token> {
        let given = TOKENS.iter().find_map(|name| Token::new(self.variable(name)?, *name));
        given.or_else(|| {
            let path = self.folder(TOKEN_PATH).unwrap_or_else(|| hf_home.join("token"));
            Token::new(&fs::read_to_string(&path).ok()?, path.display().to_string())
        })
    }

    /// The path in the variable `name`, absolute, with `~` for the user's home.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        let path = Path::new(self.variable(name)?);
        match (path.strip_prefix("~"), &self.user_home) {
            (Ok(rest), Some(home)) => Some(home.join(rest)),
            _ => Some(self.current_folder.join(path)),
        }
    }

    fn is_on(&self, name: &str) -> bool {
        let is_yes = |value: &str| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str());
        self.variable(name).is_some_and(is_yes)
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        let seconds: f64 = self.variable(name)?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::environment, *};

    fn hub(variables: &[(&str, &str)]) -> HubSettings {
        environment(variables).hub(Path::new("/state"))
    }

    #[test]
    fn the_cache_is_the_official_clients() {
        let cache = |variables: &[(&str, &str)]| hub(variables).cache;
        assert_eq!(cache(&[]), Path::new("/home/ada/.cache/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/cache")]), Path::new("/cache/huggingface/hub"));
        assert_eq!(
            cache(&[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/cache")]),
            Path::new("/home/ada/hf/hub")
        );
        assert_eq!(cache(&[("HF_HUB_CACHE", "models"), ("HF_HOME", "/hf")]), Path::new("/here/models"));
        let mut homeless = environment(&[]);
        homeless.user_home = None;
        assert_eq!(homeless.hub(Path::new("/state")).cache, Path::new("/state/huggingface/hub"));
    }

    #[test]
    fn endpoint_and_switches_are_read() {
        assert_eq!(hub(&[]).endpoint, "https://huggingface.co");
        assert_eq!(hub(&[("HF_ENDPOINT", "http://mirror:8090/")]).endpoint, "http://mirror:8090");
        assert!(!hub(&[]).offline && !hub(&[("HF_HUB_OFFLINE", "0")]).offline);
        assert!(hub(&[("HF_HUB_OFFLINE", "true")]).offline && hub(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert_eq!(hub(&[("HF_HUB_DOWNLOAD_TIMEOUT", "30")]).read_timeout, Duration::from_secs(30));
        assert_eq!(hub(&[("HF_HUB_ETAG_TIMEOUT", "never")]).answer_timeout, Duration::from_secs(10));
    }

    #[test]
    fn the_token_is_the_variable_then_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let source = |variables: &[(&str, &str)]| hub(variables).token.map(|token| token.source().to_owned());
        assert_eq!(source(&[("HF_HOME", home)]), None);
        let file = folder.path().join("token");
        fs::write(&file, "hf_file\n").unwrap();
        assert_eq!(source(&[("HF_HOME", home)]), Some(file.display().to_string()));
        assert_eq!(source(&[("HF_HOME", home), ("HF_TOKEN", "hf_x")]).as_deref(), Some("HF_TOKEN"));
        assert_eq!(source(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert!(source(&[("HF_HOME", "/nowhere"), ("HF_TOKEN_PATH", file.to_str().unwrap())]).is_some());
    }
}
