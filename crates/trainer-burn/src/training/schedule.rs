//! The course of the learning rate.

use greentune_core_config::settings::{Scheduler, Stage2Settings};

/// Learning rate of optimizer step `step` (from 0), as transformers' schedulers give it: a linear rise over
/// `warmup_steps`, then constant, or down to 0 at `iterations` in a line or along half a cosine.
pub fn learning_rate(stage: &Stage2Settings, step: u64) -> f64 {
    let (step, warmup, total) = (step as f64, stage.warmup_steps as f64, stage.iterations as f64);
    let factor = if step < warmup {
        step / warmup.max(1.0)
    } else {
        let progress = (step - warmup) / (total - warmup).max(1.0);
        match stage.scheduler {
            Scheduler::Constant => 1.0,
            Scheduler::Linear => (1.0 - progress).max(0.0),
            Scheduler::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos()),
        }
    };
    stage.learning_rate * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(scheduler: Scheduler) -> Stage2Settings {
        Stage2Settings {
            iterations: 110,
            warmup_steps: 10,
            learning_rate: 2.0,
            scheduler,
            ..Stage2Settings::default()
        }
    }

    #[test]
    fn rises_then_follows_its_course() {
        for scheduler in [Scheduler::Linear, Scheduler::Cosine, Scheduler::Constant] {
            assert!(learning_rate(&stage(scheduler), 0).abs() < 1e-12);
            assert!((learning_rate(&stage(scheduler), 5) - 1.0).abs() < 1e-12);
            assert!((learning_rate(&stage(scheduler), 10) - 2.0).abs() < 1e-12);
        }
        let at = |scheduler, step| learning_rate(&stage(scheduler), step);
        assert!((at(Scheduler::Linear, 60) - 1.0).abs() < 1e-12);
        assert!((at(Scheduler::Cosine, 60) - 1.0).abs() < 1e-12);
        assert!((at(Scheduler::Cosine, 35) - 1.707_106_78).abs() < 1e-6);
        assert!((at(Scheduler::Constant, 109) - 2.0).abs() < 1e-12);
        assert!(at(Scheduler::Linear, 110).abs() < 1e-12);
    }
}
