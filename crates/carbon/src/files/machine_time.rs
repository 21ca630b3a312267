//! When a row's meter counted its machine, and how a machine is shared among the meters that count it at the same time.

use std::collections::BTreeMap;

use greentune_core_config::emissions::{EmissionsProvenance, EmissionsRecord};
use jiff::{civil::DateTime, tz::TimeZone};

/// Rows have whole seconds, so that one run may seem to begin before another ended.
const ROUNDING_SECONDS: f64 = 1.0;

/// When a machine was metered, in seconds of local time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub began: f64,
    pub ended: f64,
}

impl Span {
    /// When `record` says that it was metered; `None` where it counts no whole machine, or does not say when.
    pub fn of(record: &EmissionsRecord, provenance: Option<&EmissionsProvenance>) -> Option<Self> {
        let of_machine = record.tracking_mode.trim().eq_ignore_ascii_case("machine");
        // A row that does not describe its machine cannot be taken for another's.
        let is_described = record.cpu_count > 0 && record.ram_total_size > 0.0;
        if !of_machine
            || !is_described
            || record.energy_consumed <= 0.0
            || provenance.is_some_and(|known| known.takes_turns)
        {
            return None;
        }
        let seconds = match provenance {
            // When earlier attempts were is not known.
            Some(known) if known.attempts > 1 => known.attempt_seconds?,
            _ => record.duration,
        };
        let ended: DateTime = record.timestamp.trim().parse().ok()?;
        let ended = TimeZone::UTC.to_timestamp(ended).ok()?.as_millisecond() as f64 / 1000.0;
        let began = ended - seconds + ROUNDING_SECONDS;
        (began < ended).then_some(Self { began, ended })
    }
}

/// The machine of a row, by all that it says of it.
pub(crate) fn machine_key(record: &EmissionsRecord) -> impl Ord + '_ {
    let EmissionsRecord { cpu_model, cpu_count, gpu_model, ram_total_size, os, .. } = record;
    (cpu_model, cpu_count, gpu_model, ram_total_size.to_bits(), os)
}

/// The share of its machine that each row has, in `(0, 1]`: at each moment a machine is shared evenly by the meters that
/// count it. A row without a span has all of its own.
pub(crate) fn shares(rows: &[(&EmissionsRecord, Option<Span>)]) -> Vec<f64> {
    let mut shares = vec![1.0; rows.len()];
    if rows.len() < 2 {
        return shares;
    }
    let mut machines: BTreeMap<_, Vec<(usize, Span)>> = BTreeMap::new();
    for (at, (record, span)) in rows.iter().enumerate() {
        if let Some(span) = span {
            machines.entry(machine_key(record)).or_default().push((at, *span));
        }
    }
    for spans in machines.into_values().filter(|spans| spans.len() > 1) {
        let clock = SharedClock::of(&spans);
        for (at, span) in &spans {
            let seconds = span.ended - span.began;
            let lost = 1.0 - (clock.at(span.ended) - clock.at(span.began)) / seconds;
            // Earlier attempts of a run that was resumed had the machine for themselves, as far as is known.
            let part = ((seconds + ROUNDING_SECONDS) / rows[*at].0.duration).min(1.0);
            shares[*at] = if lost < 1e-9 { 1.0 } else { 1.0 - lost * part };
        }
    }
    shares
}

/// A clock that goes slower the more meters count: between two moments it passes the integral of 1 / meters.
struct SharedClock {
    /// Moments at which a meter begins or ends, and what the clock shows then.
    moments: Vec<(f64, f64)>,
}

impl SharedClock {
    fn of(spans: &[(usize, Span)]) -> Self {
        let mut changes: Vec<(f64, i64)> =
            spans.iter().flat_map(|(_, span)| [(span.began, 1), (span.ended, -1)]).collect();
        changes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut meters, mut shown, mut before) = (0_i64, 0.0, changes[0].0);
        let mut moments = Vec::with_capacity(changes.len());
        for (moment, change) in changes {
            if meters > 0 {
                shown += (moment - before) / meters as f64;
            }
            before = moment;
            meters += change;
            moments.push((moment, shown));
        }
        Self { moments }
    }

    /// What it shows at `moment`, at which a meter begins or ends.
    fn at(&self, moment: f64) -> f64 {
        let after = self.moments.partition_point(|(at, _)| *at < moment);
        self.moments.get(after).map_or(0.0, |(_, shown)| *shown)
    }
}
