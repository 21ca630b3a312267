//! How long to wait before the next attempt.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// A server that asks for more patience gets this much.
const LONGEST_PATIENCE: Duration = Duration::from_hours(24);

/// Pauses that double with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// No pause grows beyond it, unless the server asks for more.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after a failure that had `earlier` others before it in a row: what the server `asked` for, where that is
    /// more than the own pause.
    pub fn pause(self, earlier: u32, asked: Option<Duration>) -> Duration {
        let own = self.first.saturating_mul(2_u32.saturating_pow(earlier)).min(self.longest);
        asked.map_or(own, |asked| asked.max(own))
    }
}

/// `pause` and up to a quarter more by chance, so that clients which failed together do not come back together.
pub fn jittered(pause: Duration) -> Duration {
    // Each state has keys of its own, which is chance enough here and needs no generator.
    let chance = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    pause.saturating_add(pause.mul_f64(0.25 * chance))
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3). A date that is over is no time at all.
pub(crate) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let asked = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = DateTimeParser::new().parse_timestamp(text).ok()?;
        at.duration_since(now).try_into().unwrap_or_default()
    };
    Some(asked.min(LONGEST_PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_a_server_may_ask_for_more() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
        let pauses = [0, 1, 2, 5, 40, u32::MAX].map(|earlier| backoff.pause(earlier, None).as_secs());
        assert_eq!(pauses, [1, 2, 4, 30, 30, 30]);
        assert_eq!(backoff.pause(1, Some(Duration::from_mins(5))), Duration::from_mins(5));
        assert_eq!(backoff.pause(3, Some(Duration::ZERO)), Duration::from_secs(8));
    }

    #[test]
    fn jitter_only_adds_and_differs() {
        let pause = Duration::from_secs(8);
        let jittered: Vec<_> = (0..100).map(|_| jittered(pause)).collect();
        assert!(jittered.iter().all(|with| (pause..=Duration::from_secs(10)).contains(with)), "{jittered:?}");
        assert!(jittered.iter().any(|with| *with != jittered[0]));
        assert_eq!(super::jittered(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_a_day_at_most() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let asked = |text: &str| retry_after(text, now);
        assert_eq!(asked("120"), Some(Duration::from_mins(2)));
        assert_eq!(asked(" 0 "), Some(Duration::ZERO));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(37)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:48:00 GMT"), Some(Duration::ZERO));
        for long in ["90000", "99999999999999999999999", "Sun, 06 Nov 2044 08:49:37 GMT"] {
            assert_eq!(asked(long), Some(LONGEST_PATIENCE), "{long}");
        }
        for nonsense in ["", "soon", "-5", "1.5", "2026-01-01"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
    }
}
