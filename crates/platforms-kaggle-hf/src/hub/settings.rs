//! Where the Hub is, where its files are kept, and the token.

use std::{fmt, path::PathBuf, time::Duration};

use greentune_http_client::Proxy;

/// The Hub itself.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Everything that a download needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Folder of the cache, shared with the Python client: `$HF_HOME/hub`.
    pub cache: PathBuf,
    /// Address of the Hub or of a mirror, without a slash at its end.
    pub endpoint: String,
    /// The user's token; without it requests are anonymous.
    pub token: Option<Token>,
    /// Whether the network must not be used.
    pub offline: bool,
    /// How long a connection, and then an answer's first byte, may take.
    pub answer_timeout: Duration,
    /// How long a download may stand still.
    pub read_timeout: Duration,
    /// Pause before the first repetition; each further one is twice as long.
    pub retry_delay: Duration,
    /// Through which the Hub is asked.
    pub proxy: Option<Proxy>,
}

impl HubSettings {
    /// The public Hub without a token, with the official client's time limits.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            offline: false,
            answer_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            retry_delay: Duration::from_millis(500),
            proxy: None,
        }
    }
}

/// A token of the Hub. It is sent to the endpoint and shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    source: String,
}

impl Token {
    /// The token in `text`, found at `source` (a variable or a file); none when there is nothing but white space.
    pub fn new(text: &str, source: impl Into<String>) -> Option<Self> {
        let secret = text.trim();
        (!secret.is_empty()).then(|| Self { secret: secret.to_owned(), source: source.into() })
    }

    /// Where it was found.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The value of the header `Authorization`.
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(from {})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_printed() {
        let mut settings = HubSettings::new("cache");
        settings.token = Token::new(" hf_secret\n", "HF_TOKEN");
        let printed = format!("{settings:?}");
        assert!(!printed.contains("hf_secret") && printed.contains("Token(from HF_TOKEN)"), "{printed}");
        assert_eq!(settings.token.map(|token| token.authorization()).as_deref(), Some("Bearer hf_secret"));
        assert_eq!(Token::new(" \n", "HF_TOKEN"), None);
    }
}
