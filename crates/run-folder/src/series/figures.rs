//! Which figures an event has, by name.

use std::collections::BTreeMap;

use greentune_core_config::{
    event::{EmissionsSoFar, EventKind, SampleMetrics, StepMetrics},
    selection::SelectionSoFar,
};
use serde::Deserialize;

/// The line of a step, as [`crate::RunWriter`] writes it: most lines are such, and this reads them in a third of the time.
#[derive(Debug, Deserialize)]
pub(super) struct StepLine<'a> {
    pub seq: u64,
    pub at: &'a str,
    kind: &'a str,
    pub stage: u8,
    pub step: u64,
    pub train_loss: f64,
    learning_rate: f64,
    gradient_norm: f64,
    pub tokens: u64,
    tokens_per_second: f64,
    samples: Option<SampleMetrics>,
}

impl<'a> StepLine<'a> {
    /// The step in `line`, when it is one.
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().filter(|step: &Self| step.kind == "step")
    }
}

/// What has to be known of earlier events to tell the figures of the next one.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// What was selected in the stage up to the last step.
    selection: Option<SelectionSoFar>,
    /// Energy in kWh and emissions in kg, by stage.
    used: BTreeMap<u8, (f64, f64)>,
}

type Named = Vec<(&'static str, f64)>;

impl Figures {
    /// A stage begins or goes on.
    pub(super) fn begin(&mut self) {
        self.selection = None;
    }

    pub(super) fn of_step(&mut self, step: &StepLine<'_>) -> Named {
        let StepLine { train_loss, learning_rate, gradient_norm, tokens, tokens_per_second, .. } = *step;
        let common = [train_loss, learning_rate, gradient_norm];
        self.named(common, (tokens > 0).then_some(tokens_per_second), step.samples.as_ref())
    }

    pub(super) fn of_metrics(&mut self, step: &StepMetrics) -> Named {
        let common = [step.train_loss, step.learning_rate, step.gradient_norm];
        self.named(common, (step.tokens > 0).then_some(step.tokens_per_second), step.samples.as_ref())
    }

    fn named(&mut self, common: [f64; 3], tokens: Option<f64>, samples: Option<&SampleMetrics>) -> Named {
        let mut figures: Named =
            ["train_loss", "learning_rate", "gradient_norm"].into_iter().zip(common).collect();
        figures.extend(tokens.map(|value| ("tokens_per_second", value)));
        if let Some(samples) = samples {
            figures.push(("samples_per_second", samples.per_second));
            if let Some(now) = &samples.selection {
                figures.extend(self.rate_since(now).map(|rate| ("activation_rate", rate)));
                figures.extend(now.threshold.map(|threshold| ("threshold", threshold)));
                self.selection = Some(now.clone());
            }
        }
        figures
    }

    /// Share of the candidates since the last step that was trained on.
    fn rate_since(&self, now: &SelectionSoFar) -> Option<f64> {
        let before = self.selection.as_ref().map_or((0, 0), |before| (before.candidates, before.selected));
        let candidates = now.candidates.checked_sub(before.0).filter(|new| *new > 0)?;
        let selected = now.selected.checked_sub(before.1)?;
        Some(selected as f64 / candidates as f64)
    }

    /// Stage, step (the last one when it does not say) and figures of an event that is no step.
    pub(super) fn of_event(&mut self, kind: &EventKind) -> Option<(u8, Option<u64>, Named)> {
        match kind {
            EventKind::Evaluated { stage, step, validation_loss, perplexity, token_accuracy } => {
                let figures = vec![
                    ("validation_loss", *validation_loss),
                    ("perplexity", *perplexity),
                    ("token_accuracy", *token_accuracy),
                ];
                Some((*stage, Some(*step), figures))
            }
            EventKind::EpochFinished(epoch) => {
                let figures = vec![("validation_loss", epoch.validation_loss), ("accuracy", epoch.accuracy)];
                Some((epoch.stage, Some(epoch.step), figures))
            }
            EventKind::Emissions(so_far) => Some((so_far.stage, None, self.of_emissions(so_far))),
            EventKind::StageFinished { emissions: Some(so_far), .. } => {
                Some((so_far.stage, None, self.of_emissions(so_far)))
            }
            _ => None,
        }
    }

    fn of_emissions(&mut self, so_far: &EmissionsSoFar) -> Named {
        self.used.insert(so_far.stage, (so_far.energy_kwh, so_far.emissions_kg_co2));
        let sum = |of: fn(&(f64, f64)) -> f64| self.used.values().map(of).sum::<f64>();
        let mut figures = vec![
            ("power_w", so_far.power_w),
            ("energy_kwh", sum(|used| used.0)),
            ("emissions_kg_co2", sum(|used| used.1)),
        ];
        if let Some(power) = so_far.power {
            figures.extend([
                ("cpu_power_w", power.cpu_w),
                ("gpu_power_w", power.gpu_w),
                ("ram_power_w", power.ram_w),
            ]);
        }
        figures
    }
}
