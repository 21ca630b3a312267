//! Meters that counted one machine at the same time, such as the ranks of a job, each of which has the whole machine in its
//! row: the machine's energy is shared among them, so that it is counted once.

use std::collections::BTreeMap;

use greentune_core_config::{emissions::EmissionsRecord, layout::RunLayout, quantities};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows::{self, RunRow};
use crate::{
    CarbonError,
    files::machine_time::{self, machine_key},
};

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

/// Processor and GPUs: what a row says of a machine in words.
pub(crate) fn machine(record: &EmissionsRecord) -> String {
    let parts = [record.cpu_model.as_str(), record.gpu_model.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Sets the share of each row.
pub(crate) fn share_machines(rows: &mut [RunRow]) {
    let spans: Vec<_> = rows.iter().map(|row| (&*row.record, row.span)).collect();
    let shares = machine_time::shares(&spans);
    for (row, share) in rows.iter_mut().zip(shares) {
        row.share = share;
    }
}

/// Runs whose machine was shared, machine by machine.
pub(crate) fn shared_machines(rows: &[RunRow]) -> Vec<SharedMachine> {
    let mut machines: BTreeMap<_, Vec<&RunRow>> = BTreeMap::new();
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
