//! A counter of energy that wraps around, starts anew, or cannot be read for a while.

/// Most that a package is believed to draw, in W: the largest processors are rated at 500 W.
const MOST_W: f64 = 1000.0;
/// Two reads may lie so close that a package's burst passes for too much; that much time is always granted, in s.
const LEAST_SECONDS: f64 = 1.0;
/// Counters this close, in µJ, are taken for one counter seen twice: some multi-die processors show the package's
/// counter once per die. One joule covers the milliseconds between two reads (CodeCarbon's tolerance, `core/rapl.py`).
const MIRROR_UJ: u64 = 1_000_000;

/// One counter; energies in µJ, times in seconds since the meter started.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    name: String,
    /// Value at which it starts again from 0; `None` for a counter too wide to wrap.
    range_uj: Option<u64>,
    start_uj: u64,
    last_uj: u64,
    last_at: f64,
    total_uj: u64,
    failed_reads: u64,
    missing_since: Option<f64>,
    resets: u64,
    may_have_wrapped_twice: bool,
}

impl Counter {
    pub fn new(name: &str, range_uj: Option<u64>, start_uj: u64, at: f64) -> Self {
        Self {
            name: name.to_owned(),
            range_uj,
            start_uj,
            last_uj: start_uj,
            last_at: at,
            total_uj: 0,
            failed_reads: 0,
            missing_since: None,
            resets: 0,
            may_have_wrapped_twice: false,
        }
    }

    /// Energy since the last read. A read that failed adds nothing: the next one's difference covers the gap.
    pub fn advance(&mut self, now_uj: Option<u64>, at: f64) -> u64 {
        let Some(now_uj) = now_uj else {
            self.failed_reads += 1;
            self.missing_since.get_or_insert(self.last_at);
            return 0;
        };
        let seconds = (at - self.last_at).max(LEAST_SECONDS);
        let range_joules = self.range_uj.map_or(f64::INFINITY, |range| range as f64 / 1e6);
        self.may_have_wrapped_twice |= range_joules < MOST_W * seconds;
        let used_uj = match self.wrapped_uj(now_uj) {
            _ if now_uj >= self.last_uj => now_uj - self.last_uj,
            Some(uj) if uj as f64 / 1e6 <= MOST_W * seconds => uj,
            // Since it started anew it has counted what it shows; what came before is lost.
            _ => {
                self.resets += 1;
                now_uj
            }
        };
        self.total_uj = self.total_uj.saturating_add(used_uj);
        (self.last_uj, self.last_at, self.missing_since) = (now_uj, at, None);
        used_uj
    }

    fn wrapped_uj(&self, now_uj: u64) -> Option<u64> {
        Some(self.range_uj?.checked_sub(self.last_uj)?.saturating_add(now_uj))
    }

    fn mirrors(&self, other: &Self) -> bool {
        self.start_uj.abs_diff(other.start_uj) <= MIRROR_UJ
            && self.total_uj.abs_diff(other.total_uj) <= MIRROR_UJ
    }

    /// What happened to it, in words.
    pub fn notes(&self) -> Vec<String> {
        let name = &self.name;
        let mut notes = Vec::new();
        match self.missing_since {
            Some(since) => notes.push(format!(
                "{name}: unreadable since {since:.1} s after the start; its energy from then on is missing"
            )),
            None if self.failed_reads > 0 => notes.push(format!(
                "{name}: {} read(s) failed; the next one that succeeded covers them",
                self.failed_reads
            )),
            None => {}
        }
        if self.resets > 0 {
            notes.push(format!(
                "{name}: started anew {} time(s) (suspend, or a driver that was loaded again); energy between the last \
                 read and the new start is missing",
                self.resets
            ));
        }
        if self.may_have_wrapped_twice {
            notes.push(format!(
                "{name}: reads lay so far apart that it may have wrapped around unseen; its energy may be too low"
            ));
        }
        notes
    }
}

/// Counters of one kind, each mirrored one counted once.
#[derive(Clone, Debug, Default)]
pub(crate) struct CounterSet {
    counters: Vec<Counter>,
    taken_uj: u64,
}

impl CounterSet {
    pub fn new(counters: Vec<Counter>) -> Self {
        Self { counters, taken_uj: 0 }
    }

    /// Energy since the last call, in µJ.
    pub fn advance(&mut self, readings_uj: &[Option<u64>], at: f64) -> u64 {
        for (counter, uj) in self.counters.iter_mut().zip(readings_uj) {
            counter.advance(*uj, at);
        }
        let distinct = self.distinct_uj();
        // Two counters that only now look like one must not take back what was counted.
        let used = distinct.saturating_sub(self.taken_uj);
        self.taken_uj = self.taken_uj.max(distinct);
        used
    }

    pub fn notes(&self) -> Vec<String> {
        self.counters.iter().flat_map(Counter::notes).collect()
    }

    fn distinct_uj(&self) -> u64 {
        let counters = &self.counters;
        let is_first =
            |index: usize| !counters[..index].iter().any(|earlier| counters[index].mirrors(earlier));
        let distinct = counters.iter().enumerate().filter(|(index, _)| is_first(*index));
        distinct.fold(0, |sum: u64, (_, counter)| sum.saturating_add(counter.total_uj))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RANGE: u64 = 262_143_328_850;

    fn counter(start_uj: u64) -> Counter {
        Counter::new("package-0", Some(RANGE), start_uj, 0.0)
    }

    #[test]
    fn a_wrap_is_told_from_a_reset_by_the_power_it_would_take() {
        let mut wraps = counter(RANGE - 2_000_000);
        assert_eq!(wraps.advance(Some(3_000_000), 1.0), 5_000_000);
        assert_eq!(wraps.notes(), Vec::<String>::new());
        let mut resets = counter(RANGE / 2);
        assert_eq!(resets.advance(Some(3_000_000), 1.0), 3_000_000);
        assert!(resets.notes()[0].contains("started anew 1 time"), "{:?}", resets.notes());
        // A value above the range it names is no wrap either.
        assert_eq!(Counter::new("x", Some(10), 20, 0.0).advance(Some(5), 1.0), 5);
        assert_eq!(Counter::new("x", None, 20, 0.0).advance(Some(5), 1.0), 5);
    }

    #[test]
    fn a_gap_is_covered_or_said() {
        let mut counter = counter(0);
        assert_eq!(counter.advance(None, 1.0), 0);
        assert!(counter.notes()[0].contains("unreadable since 0.0 s"), "{:?}", counter.notes());
        assert_eq!(counter.advance(Some(9_000_000), 2.0), 9_000_000);
        assert!(counter.notes()[0].contains("1 read(s) failed"), "{:?}", counter.notes());
        counter.advance(Some(9_000_001), 2000.0);
        assert!(counter.notes().iter().any(|note| note.contains("wrapped around unseen")));
    }

    #[test]
    fn mirrored_counters_count_once_and_independent_ones_twice() {
        let start = 50_000_000;
        let set = || CounterSet::new(vec![counter(start), counter(start + 200)]);
        assert_eq!(set().advance(&[Some(start + 80_000_000), Some(start + 80_000_400)], 1.0), 80_000_000);
        assert_eq!(set().advance(&[Some(start + 80_000_000), Some(start + 60_000_200)], 1.0), 140_000_000);
    }

    proptest! {
        #[test]
        fn it_sums_to_what_was_drawn(
            start in 0..RANGE,
            spans in prop::collection::vec((0..RANGE, any::<bool>()), 1..30),
        ) {
            let mut counter = counter(start);
            let (mut now, mut at, mut drawn) = (start, 0.0, 0);
            for (span, readable) in &spans {
                // Reads that fail may hide one wrap, no more.
                let span = span / spans.len() as u64;
                now = (now + span) % RANGE;
                at += 1000.0;
                drawn += span;
                counter.advance(readable.then_some(now), at);
            }
            counter.advance(Some(now), at);
            prop_assert_eq!(counter.total_uj, drawn);
        }

        #[test]
        fn no_reading_is_too_strange(
            start in any::<u64>(),
            range in any::<Option<u64>>(),
            reads in prop::collection::vec(any::<Option<u64>>(), 0..20),
        ) {
            let mut set = CounterSet::new(vec![Counter::new("x", range, start, 0.0)]);
            for (at, read) in reads.iter().enumerate() {
                set.advance(&[*read], at as f64);
            }
        }
    }
}
