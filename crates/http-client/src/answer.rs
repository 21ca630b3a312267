//! What a server answers, and its body, read no further than allowed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{Response, header::RETRY_AFTER};

use crate::{HttpError, Phase, backoff, runtime};

/// How much of the body of an answer that says no is read, in bytes.
const LONGEST_REFUSAL: u64 = 64 << 10;
/// How much of it is kept, in characters.
const LONGEST_EXCERPT: usize = 200;

/// An answer of any status. Its body is still on its way.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    response: Response,
    clock: Clock,
}

impl Answer {
    pub(crate) fn new(response: Response, clock: Clock) -> Self {
        Self { status: response.status().as_u16(), response, clock }
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the status is one of 3xx.
    pub fn is_redirect(&self) -> bool {
        (300..400).contains(&self.status)
    }

    /// The header `name`, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// How long the server asks to wait: `Retry-After` in seconds or as a date, a day at most.
    pub fn retry_after(&self) -> Option<Duration> {
        backoff::retry_after(self.header(RETRY_AFTER.as_str())?, Timestamp::now())
    }

    /// The answer, where its status is one of 2xx.
    ///
    /// Errors: [`HttpError::RateLimited`] for status 429, and for 503 with `Retry-After`; [`HttpError::Status`] for others.
    pub fn checked(self) -> Result<Self, HttpError> {
        if self.is_success() {
            return Ok(self);
        }
        let (status, retry_after) = (self.status, self.retry_after());
        if status == 429 || (status == 503 && retry_after.is_some()) {
            return Err(HttpError::RateLimited { status, retry_after });
        }
        // What it says is a help; that it could not be read changes nothing.
        let text = self.text(LONGEST_REFUSAL).unwrap_or_default();
        Err(HttpError::Status { status, excerpt: text.trim().chars().take(LONGEST_EXCERPT).collect() })
    }

    /// The whole body as text, with U+FFFD for what is not UTF-8.
    ///
    /// Errors: [`HttpError::TooLarge`] for more than `limit` bytes, and what breaks the connection off.
    pub fn text(mut self, limit: u64) -> Result<String, HttpError> {
        let too_large = HttpError::TooLarge { limit };
        if self.response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large);
        }
        let mut text = Vec::new();
        while let Some(piece) = self.next_piece()? {
            if (text.len() + piece.len()) as u64 > limit {
                return Err(too_large);
            }
            text.extend_from_slice(&piece);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The next piece of the body, of any length; none after its last.
    ///
    /// Errors: the connection broke off before the promised end, or a time limit.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        let Self { response, clock, .. } = self;
        let (idle, clock) = (clock.idle, *clock);
        runtime::wait(clock.within(Phase::Idle, idle, async {
            response.chunk().await.map_err(|error| HttpError::of(&error, idle))
        }))
    }
}

/// The time limits of an exchange that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub idle: Duration,
    /// When the whole has to be done, and how long that was at the beginning.
    pub end: Option<(Instant, Duration)>,
}

impl Clock {
    /// What `future` brings, within `limit` and within what is left of the whole. To be awaited inside a runtime.
    pub(crate) async fn within<T>(
        self,
        phase: Phase,
        limit: Duration,
        future: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        let left = self.end.map(|(end, whole)| (end.saturating_duration_since(Instant::now()), whole));
        let (patience, late) = match left {
            Some((left, whole)) if left < limit => {
                (left, HttpError::TimedOut { phase: Phase::Whole, limit: whole })
            }
            _ => (limit, HttpError::TimedOut { phase, limit }),
        };
        tokio::time::timeout(patience, future).await.map_err(|_| late)?
    }
}
