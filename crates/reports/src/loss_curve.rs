//! The loss of a run over its steps.

use std::collections::BTreeMap;

use greentune_carbon::plots::{ChartLine, LineChart, Plot};
use greentune_core_config::event::EventKind;
use greentune_run_folder::Run;

/// More points than this cannot be told apart in the chart's width.
const MOST_POINTS: usize = 400;

/// Training and validation loss of `run` over the steps of all stages, which stand one after another; `None` where there are
/// fewer than two points to join.
///
/// Of a run with many steps a point of the training loss is the mean of neighbours. Steps that a resumed run did again count
/// once, as they were done last.
pub fn loss_curve(run: &Run) -> Option<Plot> {
    let steps_before = |stage: u8| -> u64 {
        let before = run.manifest.stages.iter().filter(|known| known.stage < stage);
        before.fold(0, |steps, known| steps.saturating_add(known.steps_done))
    };
    let (mut training, mut validation) = (BTreeMap::new(), BTreeMap::new());
    for event in &run.events {
        match &event.kind {
            EventKind::Step(step) => {
                training.insert(steps_before(step.stage).saturating_add(step.step), step.train_loss);
            }
            EventKind::Evaluated { stage, step, validation_loss, .. } => {
                validation.insert(steps_before(*stage).saturating_add(*step), *validation_loss);
            }
            EventKind::EpochFinished(epoch) => {
                validation
                    .insert(steps_before(epoch.stage).saturating_add(epoch.step), epoch.validation_loss);
            }
            _ => {}
        }
    }
    let line = |name: &str, points: BTreeMap<u64, f64>| ChartLine {
        name: name.to_owned(),
        points: thinned(points),
        band: Vec::new(),
    };
    let lines = [line("training", training), line("validation", validation)];
    let lines: Vec<_> = lines.into_iter().filter(|line| line.points.len() > 1).collect();
    (!lines.is_empty()).then(|| {
        Plot::lines(&LineChart {
            title: format!("Loss of {}", run.manifest.run_id),
            across: String::from("step"),
            up: String::from("loss (nat)"),
            lines,
            ..LineChart::default()
        })
    })
}

fn thinned(points: BTreeMap<u64, f64>) -> Vec<[f64; 2]> {
    let points: Vec<[f64; 2]> = points
        .into_iter()
        .filter(|(_, loss)| loss.is_finite())
        .map(|(step, loss)| [step as f64, loss])
        .collect();
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |group: &[[f64; 2]]| {
        [0, 1].map(|axis| group.iter().fold(0.0, |sum, point| sum + point[axis]) / group.len() as f64)
    };
    points.chunks(group).map(mean).collect()
}
