//! What the events of a run say together: where it stands, and each event in words.

use std::collections::BTreeMap;

use greentune_core_config::{
    event::{EmissionsSoFar, Event, EventKind, StepMetrics},
    quantities::{count, counted, duration, emissions, energy, number, percent},
};

/// Where a run stands, by its events so far.
#[derive(Debug, Default)]
pub struct Tracker {
    /// Stage at work, from 1; 0 before any.
    pub stage: u8,
    /// Optimizer steps of that stage in all.
    pub total_steps: u64,
    /// Optimizer steps of that stage done.
    pub step: u64,
    /// Seconds until training is done, as the workbench works them out.
    pub seconds_left: Option<f64>,
    last_step: Option<StepMetrics>,
    emissions: BTreeMap<u8, EmissionsSoFar>,
}

impl Tracker {
    /// Takes in the next event.
    pub fn absorb(&mut self, event: &Event) {
        match &event.kind {
            EventKind::StageStarted { stage, total_steps, from_step, .. } => {
                (self.stage, self.total_steps, self.step) = (*stage, *total_steps, *from_step);
                self.last_step = None;
            }
            EventKind::Step(metrics) => {
                (self.step, self.total_steps) = (metrics.step, metrics.total_steps);
                self.last_step = Some(metrics.clone());
            }
            EventKind::Emissions(so_far) | EventKind::StageFinished { emissions: Some(so_far), .. } => {
                self.emissions.insert(so_far.stage, so_far.clone());
            }
            _ => {}
        }
    }

    /// Loss, pace, time left, power and emissions now.
    pub fn gauge(&self) -> String {
        let Parts { loss, pace, selection, left, power, emissions } = self.parts();
        joined([loss, pace, selection, left, power, emissions])
    }

    /// The same for a line that may be cut off: what is missed most comes first.
    pub fn gauge_by_need(&self) -> String {
        let Parts { loss, pace, selection, left, power, emissions } = self.parts();
        joined([loss, power, emissions, left, pace, selection])
    }

    fn parts(&self) -> Parts {
        let step = self.last_step.as_ref();
        let selection = step.and_then(|step| step.samples.as_ref()?.selection.as_ref());
        let is_at_its_end = self.total_steps > 0 && self.step == self.total_steps;
        let left = self.seconds_left.map(|seconds| format!("{} left", duration(seconds)));
        let used: f64 = self.emissions.values().map(|stage| stage.emissions_kg_co2).sum();
        Parts {
            loss: step.map(|step| format!("loss {:.3}", step.train_loss)),
            pace: step.map(|step| match step.samples.as_ref().filter(|_| step.tokens == 0) {
                Some(samples) => format!("{} samples/s", count(samples.per_second.round() as u64)),
                None => format!("{} tokens/s", count(step.tokens_per_second.round() as u64)),
            }),
            selection: selection.map(|so_far| format!("trains on {}", percent(so_far.activation_rate()))),
            left: if is_at_its_end { Some(String::from("evaluating")) } else { left },
            power: self.emissions.get(&self.stage).map(|now| format!("{} W", number(now.power_w))),
            emissions: (!self.emissions.is_empty()).then(|| emissions(used)),
        }
    }

    /// Whether the last step went over another tenth of its stage.
    pub fn has_passed_a_tenth(&self) -> bool {
        let tenths = |step: u64| step * 10 / self.total_steps.max(1);
        self.step > 0 && tenths(self.step) > tenths(self.step - 1)
    }

    /// The step in words.
    pub fn step_in_words(&self) -> String {
        format!("stage {}: step {}/{}, {}", self.stage, self.step, self.total_steps, self.gauge())
    }
}

/// What the gauge shows, as far as it is known.
struct Parts {
    loss: Option<String>,
    pace: Option<String>,
    selection: Option<String>,
    left: Option<String>,
    power: Option<String>,
    emissions: Option<String>,
}

fn joined(parts: [Option<String>; 6]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `event` in words; `None` for events that only move the gauge, and for the last one, which the command reports.
pub fn in_words(event: &EventKind) -> Option<String> {
    Some(match event {
        EventKind::Started { device, resumed, .. } => {
            format!("{} on {device}", if *resumed { "training again" } else { "training" })
        }
        EventKind::StageStarted { stage, total_steps, from_step, train_records, trainable_parameters } => {
            let from = if *from_step > 0 { format!(" from step {from_step}") } else { String::new() };
            format!(
                "stage {stage}: {total_steps} steps{from}, {}, {}",
                counted(*train_records, "record"),
                counted(*trainable_parameters, "trained parameter"),
            )
        }
        EventKind::Evaluated { stage, step, validation_loss, perplexity, token_accuracy } => format!(
            "stage {stage}: step {step}, validation loss {validation_loss:.3}, perplexity {}, token accuracy {}",
            number(*perplexity),
            percent(*token_accuracy),
        ),
        EventKind::EpochFinished(epoch) => format!(
            "epoch {}/{}: validation loss {:.3}, accuracy {}{}",
            epoch.epoch,
            epoch.total_epochs,
            epoch.validation_loss,
            percent(epoch.accuracy),
            epoch
                .selection
                .as_ref()
                .map(|epoch| format!(", trained on {}", percent(epoch.activation_rate())))
                .unwrap_or_default(),
        ),
        EventKind::CheckpointSaved { stage, step, .. } => format!("stage {stage}: checkpoint at step {step}"),
        EventKind::Warning { message, .. } => format!("warning: {message}"),
        EventKind::StageFinished { stage, duration_seconds, final_train_loss, emissions: used, .. } => {
            let used = used.as_ref().map(|used| {
                let (energy, emissions) = (energy(used.energy_kwh), emissions(used.emissions_kg_co2));
                // A short stage ends before its first gauge has any.
                let power = 3.6e6 * used.energy_kwh / used.duration_seconds;
                let power = Some(power).filter(|power| power.is_finite());
                let power =
                    power.map(|power| format!(", {} W on average", number(power))).unwrap_or_default();
                format!(", {energy} ({}){power}, {emissions}", used.basis)
            });
            let used = used.unwrap_or_else(|| String::from(", energy not metered"));
            format!(
                "stage {stage}: done in {}, final training loss {final_train_loss:.3}{used}",
                duration(*duration_seconds),
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn event(second: i64, kind: EventKind) -> Event {
        Event { seq: 0, at: Timestamp::from_second(second).unwrap(), kind }
    }

    fn step(second: i64, step: u64) -> Event {
        let metrics = StepMetrics {
            stage: 1,
            step,
            total_steps: 20,
            train_loss: 2.5,
            learning_rate: 1e-3,
            gradient_norm: 1.0,
            tokens: 512,
            tokens_per_second: 2140.4,
            samples: None,
        };
        event(second, EventKind::Step(metrics))
    }

    fn used(stage: u8) -> EmissionsSoFar {
        EmissionsSoFar {
            stage,
            duration_seconds: 10.0,
            energy_kwh: 1e-4,
            emissions_kg_co2: 4e-5,
            power_w: 9.25,
            power: None,
            basis: String::from("modelled"),
        }
    }

    fn begun() -> Tracker {
        let mut tracker = Tracker::default();
        let stage = EventKind::StageStarted {
            stage: 1,
            total_steps: 20,
            from_step: 0,
            train_records: 400,
            trainable_parameters: 35_328,
        };
        tracker.absorb(&event(100, stage));
        tracker
    }

    #[test]
    fn the_gauge_tells_loss_pace_time_left_power_and_grams() {
        let mut tracker = begun();
        assert_eq!(tracker.gauge(), "");
        tracker.absorb(&step(102, 1));
        assert_eq!(tracker.gauge(), "loss 2.500, 2,140 tokens/s");
        tracker.seconds_left = Some(38.0);
        assert_eq!(tracker.gauge(), "loss 2.500, 2,140 tokens/s, 38 s left");
        tracker.absorb(&event(102, EventKind::Emissions(used(1))));
        assert_eq!(tracker.gauge(), "loss 2.500, 2,140 tokens/s, 38 s left, 9.25 W, 0.0400 g CO2e");
        tracker.absorb(&step(140, 20));
        assert_eq!(tracker.gauge(), "loss 2.500, 2,140 tokens/s, evaluating, 9.25 W, 0.0400 g CO2e");
    }

    #[test]
    fn a_narrow_gauge_keeps_power_grams_and_time_left() {
        let mut tracker = begun();
        tracker.absorb(&step(102, 1));
        tracker.seconds_left = Some(754.0);
        tracker.absorb(&event(102, EventKind::Emissions(used(1))));
        let gauge = tracker.gauge_by_need();
        assert_eq!(gauge, "loss 2.500, 9.25 W, 0.0400 g CO2e, 12 min 34 s left, 2,140 tokens/s");
        let bar = "stage 1  1234/1500 ".len() + super::super::screen::BAR_COLUMNS;
        assert!(gauge.find("left").unwrap() + "left".len() + bar <= 80, "shown at 80 columns");
    }

    #[test]
    fn grams_are_summed_over_the_stages() {
        let mut tracker = begun();
        tracker.absorb(&event(101, EventKind::Emissions(used(1))));
        tracker.absorb(&event(102, EventKind::Emissions(used(2))));
        assert_eq!(tracker.gauge(), "9.25 W, 0.0800 g CO2e");
    }

    #[test]
    fn each_tenth_is_passed_once() {
        let mut tracker = begun();
        let passed = (1..=20).filter(|&number| {
            tracker.absorb(&step(100, number));
            tracker.has_passed_a_tenth()
        });
        assert_eq!(passed.count(), 10);
    }

    #[test]
    fn events_in_words() {
        let finished = EventKind::StageFinished {
            stage: 1,
            duration_seconds: 23.4,
            final_train_loss: 0.3124,
            emissions: Some(used(1)),
            peak_memory_bytes: None,
        };
        insta::assert_snapshot!(in_words(&finished).unwrap(), @"stage 1: done in 23 s, final training loss 0.312, 0.100 Wh (modelled), 36.0 W on average, 0.0400 g CO2e");
        let started =
            EventKind::Started { pid: 1, device: String::from("cpu (flex, 2 threads)"), resumed: true };
        insta::assert_snapshot!(in_words(&started).unwrap(), @"training again on cpu (flex, 2 threads)");
        assert_eq!(in_words(&EventKind::Finished { duration_seconds: 1.0 }), None);
    }
}
