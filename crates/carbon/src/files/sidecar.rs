//! `{run_id}_stage{N}_provenance.json`: what CodeCarbon's format cannot say.

use std::path::{Path, PathBuf};

use greentune_core_config::{
    emissions::EmissionsProvenance,
    event::{HIGHEST_FIGURE, is_possible},
};

use crate::{CarbonError, files::durable};

/// Version of the sidecar that this crate writes; version 1, without intervals, is read as well.
pub const FORMAT_VERSION: u32 = 2;

/// Bytes of a sidecar at most.
const MOST_BYTES: u64 = 64 << 20;

/// Where the sidecar of the run `run_id` lies whose row is in `csv`.
pub fn beside(csv: &Path, run_id: &str) -> PathBuf {
    csv.with_file_name(format!("{run_id}_provenance.json"))
}

/// Where the sidecar lies of `csv`, a file of emissions of one run.
pub(crate) fn of_file(csv: &Path) -> PathBuf {
    let name = csv.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix("_emissions.csv").or_else(|| name.strip_suffix(".csv")).unwrap_or(&name);
    csv.with_file_name(format!("{stem}_provenance.json"))
}

/// Writes the sidecar, replacing an older one in one step. Missing folders are created.
pub fn write(path: &Path, provenance: &EmissionsProvenance) -> Result<(), CarbonError> {
    let mut json = serde_json::to_vec_pretty(provenance)
        .map_err(|error| CarbonError::malformed(path, None, format!("cannot be written as JSON: {error}")))?;
    json.push(b'\n');
    durable::replace(path, &json)
}

/// Reads a sidecar; `None` when there is no such file.
pub fn read(path: &Path) -> Result<Option<EmissionsProvenance>, CarbonError> {
    let json = match greentune_durable::read_at_most(path, MOST_BYTES) {
        Ok(json) => json,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CarbonError::file("read", path)(error)),
    };
    let provenance: EmissionsProvenance = serde_json::from_slice(&json).map_err(|error| {
        CarbonError::malformed(path, Some(error.line() as u64), format!("is not a provenance file: {error}"))
    })?;
    if provenance.format_version > FORMAT_VERSION {
        let message = format!(
            "has format_version {}; this version reads up to {FORMAT_VERSION}",
            provenance.format_version
        );
        return Err(CarbonError::malformed(path, None, message));
    }
    match impossible(&provenance) {
        None => Ok(Some(provenance)),
        Some((figure, value)) => {
            let message = format!("{figure} is {value}; allowed is a number from 0 to {HIGHEST_FIGURE:e}");
            Err(CarbonError::malformed(path, None, message))
        }
    }
}

/// A figure that no meter measures.
fn impossible(provenance: &EmissionsProvenance) -> Option<(String, f64)> {
    let named = |name: &str, value: f64| (name.to_owned(), value);
    let bounds = |name: &str, range: Option<[f64; 2]>| {
        range.into_iter().flatten().map(|bound| (name.to_owned(), bound)).collect::<Vec<_>>()
    };
    let of_all = [
        named("carbon_intensity_g_per_kwh", provenance.carbon_intensity_g_per_kwh),
        named("pue", provenance.pue),
        named("attempt_seconds", provenance.attempt_seconds.unwrap_or_default()),
    ];
    let of_parts = provenance.components.iter().flat_map(|part| {
        let name = |figure: &str| format!("{figure} of {}", part.component);
        let energy = [(name("energy_kwh"), part.energy_kwh), (name("uncertainty"), part.uncertainty)];
        energy.into_iter().chain(bounds(&name("range_kwh"), part.range_kwh)).collect::<Vec<_>>()
    });
    let ranges = [
        bounds("energy_range_kwh", provenance.energy_range_kwh),
        bounds("emissions_range_kg", provenance.emissions_range_kg),
        bounds("carbon_intensity_range_g_per_kwh", provenance.carbon_intensity_range_g_per_kwh),
    ];
    of_all
        .into_iter()
        .chain(of_parts)
        .chain(ranges.into_iter().flatten())
        .find(|(_, value)| !is_possible(*value))
}
