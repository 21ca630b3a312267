//! How much callers may ask for.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Addresses whose requests are counted, at most. Those that have waited long enough are forgotten first.
const COUNTED: usize = 10_000;

/// How much callers may ask for. The defaults leave room for every client that is one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Requests in a second, of an account, and of an address without a token.
    pub requests_per_second: u32,
    /// Requests at once, before those in a second count.
    pub burst: u32,
    /// Calls of tools at work at once, of an account, and of all clients without one. Further ones wait.
    pub calls_at_once: usize,
    /// How long a call waits for others to end.
    pub patience: Duration,
    /// Sessions of an account, and of all clients without one.
    pub sessions: usize,
    /// A session without any message ends after this time.
    pub session_idle: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of an address beyond this machine.
    pub connections_per_address: usize,
    /// How long a request may take to come: its head, and then its body.
    pub read_time: Duration,
    /// How long a client may take nothing of its answer.
    pub write_time: Duration,
    /// How long answers that are under way may take when the server ends.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            requests_per_second: 100,
            burst: 400,
            calls_at_once: 64,
            patience: Duration::from_secs(20),
            sessions: 500,
            session_idle: Duration::from_mins(30),
            connections: 512,
            connections_per_address: 64,
            read_time: Duration::from_secs(20),
            write_time: Duration::from_mins(1),
            grace: Duration::from_secs(3),
        }
    }
}

/// Requests that may still be made at once: a bucket that fills with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Who makes requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    /// An account, from wherever.
    Account(Arc<str>),
    /// An address that showed no token.
    Address(IpAddr),
}

/// Counts requests.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<Counted, Bucket>>,
}

impl Rate {
    pub(crate) fn new(limits: &Limits) -> Self {
        let per_second = f64::from(limits.requests_per_second.max(1));
        Self { per_second, burst: f64::from(limits.burst.max(1)), buckets: Mutex::default() }
    }

    /// Counts a request at `now`.
    ///
    /// Errors: there were too many; how long to wait.
    pub(crate) fn count(&self, who: Counted, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= COUNTED && !buckets.contains_key(&who) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.burst);
            if buckets.len() >= COUNTED {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = buckets.entry(who).or_insert(Bucket { left: self.burst, at: now });
        let left = self.filled(*bucket, now);
        if left < 1.0 {
            *bucket = Bucket { left, at: now };
            return Err(Duration::from_secs_f64((1.0 - left) / self.per_second));
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + passed * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests_per_second: u32, burst: u32) -> Rate {
        Rate::new(&Limits { requests_per_second, burst, ..Limits::default() })
    }

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let (rate, begun) = (rate(10, 3), Instant::now());
        let ada = || Counted::Account("ada".into());
        for _ in 0..3 {
            assert_eq!(rate.count(ada(), begun), Ok(()));
        }
        let wait = rate.count(ada(), begun).unwrap_err();
        assert!((0.09..0.11).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(rate.count(Counted::Account("bob".into()), begun), Ok(()), "others are not counted");
        let later = begun + wait + Duration::from_millis(1);
        assert_eq!(rate.count(ada(), later), Ok(()));
        assert!(rate.count(ada(), later).is_err());
        let much_later = later + Duration::from_hours(1);
        assert_eq!((0..9).filter(|_| rate.count(ada(), much_later).is_ok()).count(), 3);
    }

    #[test]
    fn addresses_without_number_take_no_memory_without_end() {
        let (rate, now) = (rate(1, 1), Instant::now());
        let address = |number: u32| Counted::Address(IpAddr::from(number.to_be_bytes()));
        for number in 0..COUNTED as u32 {
            assert_eq!(rate.count(address(number), now), Ok(()));
        }
        assert!(rate.count(address(u32::MAX), now).is_err(), "nobody can be forgotten yet");
        assert_eq!(rate.count(address(u32::MAX), now + Duration::from_secs(2)), Ok(()));
        assert_eq!(rate.buckets.lock().unwrap().len(), 1);
    }
}
