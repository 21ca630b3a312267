//! The figures of an event, under the names that trackers show.

use std::path::Path;

use greentune_core_config::{
    event::{EmissionsSoFar, EventKind},
    layout::RunLayout,
    selection::SelectionSoFar,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{TrackingError, events::QueuedEvent};

/// One figure at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    pub(crate) key: String,
    pub(crate) value: f64,
    pub(crate) at: Timestamp,
    pub(crate) step: u64,
}

/// The figures of `noted`; none for a step that an earlier attempt has reported.
///
/// Errors: the stage's CSV cannot be read.
pub(crate) fn of(
    noted: &QueuedEvent,
    layout: &RunLayout,
    emissions_too: bool,
) -> Result<Vec<Metric>, TrackingError> {
    if noted.repeated {
        return Ok(Vec::new());
    }
    let (stage, step, figures) = match &noted.event.kind {
        EventKind::Step(metrics) => {
            let mut figures = vec![
                ("train_loss", metrics.train_loss),
                ("learning_rate", metrics.learning_rate),
                ("gradient_norm", metrics.gradient_norm),
            ];
            if metrics.tokens > 0 {
                figures.push(("tokens_per_second", metrics.tokens_per_second));
            }
            if let Some(samples) = &metrics.samples {
                figures.push(("samples_per_second", samples.per_second));
                figures.push(("epoch", samples.epoch));
                figures.extend(samples.selection.iter().flat_map(selection));
            }
            (metrics.stage, metrics.step, figures)
        }
        EventKind::EpochFinished(epoch) => {
            let mut figures = vec![("validation_loss", epoch.validation_loss), ("accuracy", epoch.accuracy)];
            figures.extend(epoch.top5_accuracy.map(|accuracy| ("top5_accuracy", accuracy)));
            (epoch.stage, epoch.step, figures)
        }
        EventKind::Evaluated { stage, step, validation_loss, perplexity, token_accuracy } => (
            *stage,
            *step,
            vec![
                ("validation_loss", *validation_loss),
                ("perplexity", *perplexity),
                ("token_accuracy", *token_accuracy),
            ],
        ),
        EventKind::Emissions(so_far) if emissions_too => (so_far.stage, noted.step, emissions(so_far)),
        EventKind::StageFinished { stage, final_train_loss, emissions: total, .. } => {
            let mut figures = vec![("final_train_loss", *final_train_loss)];
            if let Some(total) = total.as_ref().filter(|_| emissions_too) {
                figures.extend(emissions(total));
                figures.extend(last_row(&layout.emissions_csv(*stage))?);
            }
            (*stage, noted.step, figures)
        }
        _ => return Ok(Vec::new()),
    };
    let at = noted.event.at;
    let metric = |(name, value)| Metric { key: format!("stage{stage}_{name}"), value, at, step };
    Ok(figures.into_iter().map(metric).collect())
}

/// What was selected so far.
fn selection(so_far: &SelectionSoFar) -> Vec<(&'static str, f64)> {
    let mut figures = vec![("activation_rate", so_far.activation_rate())];
    figures.extend(so_far.threshold.map(|threshold| ("selection_threshold", threshold)));
    figures
}

/// A figure in JSON, as MLflow takes it and the client of Weights & Biases writes it.
pub(crate) fn json(value: f64) -> Value {
    match value {
        value if value.is_nan() => Value::from("NaN"),
        f64::INFINITY => Value::from("Infinity"),
        f64::NEG_INFINITY => Value::from("-Infinity"),
        value => Value::from(value),
    }
}

/// kg, hours, kg per hour, kWh.
fn emissions(so_far: &EmissionsSoFar) -> Vec<(&'static str, f64)> {
    let hours = so_far.duration_seconds / 3600.0;
    let mut figures = vec![
        ("carbon_emissions_kg_co2", so_far.emissions_kg_co2),
        ("training_duration_hours", hours),
        ("energy_consumed_kwh", so_far.energy_kwh),
    ];
    if hours > 0.0 {
        figures.push(("emissions_per_hour_kg", so_far.emissions_kg_co2 / hours));
    }
    figures
}

/// Energy of the components in kWh and carbon intensity in g/kWh, from the last row of CodeCarbon's CSV; nothing where
/// there is no such file or row. The intensity is emissions over energy, which both hold the building's overhead (PUE).
fn last_row(path: &Path) -> Result<Vec<(&'static str, f64)>, TrackingError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let failed = |error: csv::Error| TrackingError::damaged(path, error);
    let mut reader = csv::Reader::from_path(path).map_err(failed)?;
    let header = reader.headers().map_err(failed)?.clone();
    let mut last = None;
    for row in reader.records() {
        last = Some(row.map_err(failed)?);
    }
    let Some(row) = last else { return Ok(Vec::new()) };
    let value = |name: &str| {
        let column = header.iter().position(|column| column == name)?;
        row.get(column)?.parse::<f64>().ok().filter(|value| value.is_finite())
    };
    let parts = [
        ("cpu_energy_kwh", "cpu_energy"),
        ("gpu_energy_kwh", "gpu_energy"),
        ("ram_energy_kwh", "ram_energy"),
    ];
    let mut figures: Vec<_> =
        parts.iter().filter_map(|(name, column)| Some((*name, value(column)?))).collect();
    if let (Some(kilograms), Some(energy)) = (value("emissions"), value("energy_consumed"))
        && energy > 0.0
    {
        figures.push(("carbon_intensity_gco2_kwh", kilograms * 1000.0 / energy));
    }
    Ok(figures)
}
