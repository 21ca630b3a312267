//! Meters that counted one machine at the same time, such as the ranks of a job, each of which has the whole machine in its
//! row: the machine's energy is shared among them, so that it is counted once.

use std::collections::BTreeMap;

use greentune_core_config::{
    emissions::{EmissionsProvenance, EmissionsRecord},
    layout::RunLayout,
    quantities,
};
use jiff::{civil::DateTime, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows::{self, RunRow};
use crate::CarbonError;

/// Rows have whole seconds, so that one run may seem to begin before another ended.
const ROUNDING_SECONDS: f64 = 1.0;

/// When a machine was metered, in seconds of local time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub began: f64,
    pub ended: f64,
}

/// Runs that were metered on one machine at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SharedMachine {
    /// The machine as its rows describe it (CodeCarbon names no host).
    pub machine: String,
    /// The runs, each once.
    pub runs: Vec<String>,
    /// Their energy as it was recorded, the machine's for each of them, in kWh.
    pub recorded_energy_kwh: f64,
    /// Their energy where the machine is counted once, as in all sums, in kWh.
    pub energy_kwh: f64,
    /// The same in a sentence.
    pub message: String,
}

/// What else was metered on the machine of a run while it was.
#[derive(Clone, Debug, PartialEq)]
pub struct MeteredBeside {
    /// The other runs, each once.
    pub others: Vec<String>,
    /// Seconds in which another run was metered too.
    pub seconds: f64,
    /// The same in a sentence, which names the run.
    pub message: String,
}

/// What else of the project was metered on the machine of `run` at the same time: the meter counts the whole machine for
/// each of them, so that their energies say little of the runs.
///
/// # Errors
/// The project's files of emissions cannot be read.
pub fn beside(run: &RunLayout) -> Result<Option<MeteredBeside>, CarbonError> {
    let all = rows::of_project(run.project())?.rows;
    Ok(beside_in(&run.run_id(), &all))
}

/// The same among `rows`.
pub(crate) fn beside_in(run_id: &str, rows: &[RunRow]) -> Option<MeteredBeside> {
    let of_run = |row: &&RunRow| row.run_id == run_id;
    let (mut others, mut common): (Vec<String>, Vec<[f64; 2]>) = (Vec::new(), Vec::new());
    for own in rows.iter().filter(of_run) {
        for other in rows.iter().filter(|row| !of_run(row)) {
            let Some((a, b)) = own.span.zip(other.span) else { continue };
            let both = [a.began.max(b.began), a.ended.min(b.ended)];
            if both[0] < both[1] && machine_key(&own.record) == machine_key(&other.record) {
                common.push(both);
                others.push(other.run_id.clone());
            }
        }
    }
    others.sort();
    others.dedup();
    if others.is_empty() {
        return None;
    }
    let seconds = length_of_union(common);
    let named = match others.len() {
        1..=3 => others.join(", "),
        count => format!("{} and {} others", others[..2].join(", "), count - 2),
    };
    let message = format!(
        "{run_id} was metered for {} beside {named} on the same machine, whose whole energy is in the row of each: it is no \
         energy of {run_id} alone",
        quantities::duration(seconds)
    );
    Some(MeteredBeside { others, seconds, message })
}

fn length_of_union(mut spans: Vec<[f64; 2]>) -> f64 {
    spans.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let (mut length, mut reached) = (0.0, f64::NEG_INFINITY);
    for [began, ended] in spans {
        length += (ended - began.max(reached)).max(0.0);
        reached = reached.max(ended);
    }
    length
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
pub(crate) fn machine_key(record: &EmissionsRecord) -> String {
    let EmissionsRecord { cpu_model, cpu_count, gpu_model, ram_total_size, os, .. } = record;
    format!("{cpu_model}\n{cpu_count}\n{gpu_model}\n{ram_total_size}\n{os}")
}

/// Processor and GPUs: what a row says of a machine in words.
pub(crate) fn machine(record: &EmissionsRecord) -> String {
    let parts = [record.cpu_model.as_str(), record.gpu_model.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Sets the share of each row: at each moment a machine is shared evenly by the meters that count it.
pub(crate) fn share_machines(rows: &mut [RunRow]) {
    let mut machines: BTreeMap<String, Vec<(usize, Span)>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(span) = row.span {
            machines.entry(machine_key(&row.record)).or_default().push((at, span));
        }
    }
    for spans in machines.into_values().filter(|spans| spans.len() > 1) {
        let clock = SharedClock::of(&spans);
        for (at, span) in &spans {
            let seconds = span.ended - span.began;
            let lost = 1.0 - (clock.at(span.ended) - clock.at(span.began)) / seconds;
            // Earlier attempts of a run that was resumed had the machine for themselves, as far as is known.
            let part = ((seconds + ROUNDING_SECONDS) / rows[*at].record.duration).min(1.0);
            rows[*at].share = if lost < 1e-9 { 1.0 } else { 1.0 - lost * part };
        }
    }
}

/// Runs whose machine was shared, machine by machine.
pub(crate) fn shared_machines(rows: &[RunRow]) -> Vec<SharedMachine> {
    let mut machines: BTreeMap<String, Vec<&RunRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.share < 1.0) {
        machines.entry(machine_key(&row.record)).or_default().push(row);
    }
    machines.into_values().map(|rows| shared(&rows)).collect()
}

fn shared(rows: &[&RunRow]) -> SharedMachine {
    let mut runs: Vec<String> = rows.iter().map(|row| row.run_id.clone()).collect();
    runs.sort();
    runs.dedup();
    let recorded = rows.iter().fold(0.0, |sum, row| sum + row.record.energy_consumed);
    let energy_kwh = rows.iter().fold(0.0, |sum, row| sum + row.energy_kwh());
    let machine = rows.first().map_or_else(String::new, |row| machine(&row.record));
    let named =
        if machine.is_empty() { String::from("one machine") } else { format!("one machine ({machine})") };
    let which = match runs.len() {
        // Ranks may share an id.
        1 => format!("{} rows of {}", rows.len(), runs[0]),
        2..=4 => runs.join(", "),
        count => format!("{}, … ({count} runs)", runs[..3].join(", ")),
    };
    let unit = quantities::energy_unit(recorded);
    let message = format!(
        "{which} metered {named} at the same time, and each has the whole machine in its row ({} in all): it is counted once \
         ({}), shared evenly; machines that only look alike would have used the former",
        unit.text(recorded),
        unit.text(energy_kwh),
    );
    SharedMachine { machine, runs, recorded_energy_kwh: recorded, energy_kwh, message }
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
