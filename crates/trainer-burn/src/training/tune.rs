//! Short trials that choose learning rates (and batch sizes): the stages' own steps, from their own beginning, in few.
//!
//! A trial is the stage in small: its draws, its optimizer, its warm-up and schedule in proportion. Of the trials the
//! better half goes on at a quarter and at half of the steps (successive halving, Jamieson & Talwalkar 2016). The judge
//! is the loss of the same validation records. Stage 2 is tried from where stage 1's best trial ended.

mod metered;
mod trial;

use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use greentune_carbon::MeterEnvironment;
use greentune_core_config::{
    layout::RunLayout,
    lora_rate::lora_learning_rate,
    manifest::RunManifest,
    settings::Stage2Settings,
    tuning::{StageTuning, Trial as TrialRecord, TuneFindings, TuneTask},
};
use greentune_text_data::{Encoder, Example};

use self::{metered::TuningMeter, trial::Trial};
use super::{open, stage_data::StageData};
use crate::{
    error::TrainError,
    evaluate,
    model::{Adapters, Decoder, LoraSettings},
    ops::Ops,
};

/// Steps of a trial by default: a fifth of the stage's, between these.
const STEPS: [u64; 2] = [10, 40];
/// Shares of a trial's steps after which the worse half is given up.
const GIVEN_UP_AT: [f64; 2] = [0.25, 0.5];
/// Validation records that are scored, at most; the same each time.
const SCORED_RECORDS: usize = 64;
/// Learning rates of stage 1, as factors of the usual one.
const AROUND_USUAL: [f64; 5] = [0.1, 0.3, 1.0, 3.0, 10.0];
/// Learning rates of stage 2, as factors of the one that was chosen for stage 1.
const AFTER_STAGE_1: [f64; 4] = [0.03, 0.1, 0.3, 1.0];
/// Losses that differ by less than this share are as good as each other. Then the lower rate is chosen, because short
/// trials favour high ones.
const AS_GOOD: f64 = 0.02;

/// Tries learning rates for every stage of a run on the backend `A`.
pub fn find<A>(
    task: &TuneTask,
    manifest: &RunManifest,
    layout: &RunLayout,
    surroundings: &MeterEnvironment,
    device: &A::Device,
    device_name: &str,
) -> Result<TuneFindings, TrainError>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let began = Instant::now();
    let (mut meter, not_metered) = TuningMeter::start(&manifest.settings, layout, surroundings);
    let (encoder, decoder) =
        open::<A>(&manifest.base_model_path, &manifest.settings, manifest.created_at, device)?;
    let tuner = Tuner::<A> { task, manifest, layout, encoder, decoder };
    let training = &manifest.settings.training;
    let lora = LoraSettings::from(&manifest.settings.lora);
    let mut start = Adapters::fresh(&tuner.decoder, lora, training.seed, device);
    let mut stages = Vec::new();
    for stage in 1..=training.num_stages {
        let before = stages.first().map(|first: &StageTuning| first.learning_rate);
        let (tuning, best) = tuner.tune_stage(stage, start, before, &mut meter)?;
        stages.push(tuning);
        start = best;
    }
    let (emissions, problem) = meter.finish();
    Ok(TuneFindings {
        device: device_name.to_owned(),
        stages,
        duration_seconds: began.elapsed().as_secs_f64(),
        emissions,
        not_metered: not_metered.or(problem),
    })
}

struct Tuner<'a, A: AutodiffBackend<InnerBackend: Ops>> {
    task: &'a TuneTask,
    manifest: &'a RunManifest,
    layout: &'a RunLayout,
    encoder: Encoder,
    decoder: Decoder<A::InnerBackend>,
}

/// What a stage's trials have in common.
pub(super) struct Common<'a, A: AutodiffBackend<InnerBackend: Ops>> {
    pub stage: u8,
    pub manifest: &'a RunManifest,
    pub decoder: &'a Decoder<A::InnerBackend>,
    pub data: StageData,
    pub start: Adapters<A::InnerBackend>,
    /// Records that judge: the stage's own, then those of stage 1 where they are others.
    judges: Vec<Vec<Example>>,
}

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> Tuner<'_, A> {
    /// Tries rates for `stage` from `start`, then batch sizes. `before` is what was chosen for stage 1. Returns the best
    /// trial's adapters too.
    fn tune_stage(
        &self,
        stage: u8,
        start: Adapters<A::InnerBackend>,
        before: Option<f64>,
        meter: &mut TuningMeter,
    ) -> Result<(StageTuning, Adapters<A::InnerBackend>), TrainError> {
        let common = Common::<A> {
            stage,
            manifest: self.manifest,
            decoder: &self.decoder,
            judges: Vec::new(),
            data: self.data(stage)?,
            start,
        }
        .with_judges()?;
        let own = self.manifest.settings.training.stage(stage);
        let steps = self.steps(&own);
        let mut trials = Vec::new();
        for rate in self.rates(stage, &own, before) {
            trials.push(Trial::begin(&common, Stage2Settings { learning_rate: rate, ..own.clone() }, steps)?);
        }
        let mut over = halve(&common, trials, meter)?;
        let rate = best(&over).settings().learning_rate;
        let others = self.task.batch_sizes.iter().copied().filter(|size| *size != own.batch_size);
        for batch_size in others {
            over.push(other_batch(&common, &own, rate, batch_size, steps)?);
            meter.write();
        }
        let first_loss = common.loss(&common.start);
        let chosen = best(&over);
        let (settings, adapters) = (chosen.settings().clone(), chosen.adapters().clone());
        let tuning = StageTuning {
            stage,
            first_loss,
            trials: over.iter().map(Trial::record).collect(),
            learning_rate: settings.learning_rate,
            batch_size: settings.batch_size,
        };
        Ok((tuning, adapters))
    }

    fn data(&self, stage: u8) -> Result<StageData, TrainError> {
        let name = |role: &str| format!("tune-{}-{role}.examples", std::process::id());
        let spill = |role: &str| self.layout.training_data(stage).join(name(role));
        StageData::load(self.manifest, &self.encoder, stage, spill, |_| Ok(()))
    }

    fn steps(&self, own: &Stage2Settings) -> u64 {
        let default = (own.iterations / 5).clamp(STEPS[0], STEPS[1]);
        self.task.steps.unwrap_or(default).clamp(1, own.iterations)
    }

    /// The rates to try, the lowest first, the run's own among them.
    fn rates(&self, stage: u8, own: &Stage2Settings, before: Option<f64>) -> Vec<f64> {
        let (training, lora) = (&self.manifest.settings.training, &self.manifest.settings.lora);
        let width = self.decoder.config().hidden_size as u64;
        let times =
            |rate: f64, factors: &[f64]| factors.iter().map(|factor| significant(rate * factor)).collect();
        let mut rates: Vec<f64> = match before {
            Some(before) => times(before, &AFTER_STAGE_1),
            None if !self.task.learning_rates.is_empty() => self.task.learning_rates.clone(),
            None => times(lora_learning_rate(stage, training, lora, Some(width)), &AROUND_USUAL),
        };
        rates.push(own.learning_rate);
        rates.sort_by(f64::total_cmp);
        // Rates this close cannot be told apart.
        rates.dedup_by(|a, b| *a < 1.2 * *b);
        rates
    }
}

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> Common<'_, A> {
    fn with_judges(mut self) -> Result<Self, TrainError> {
        let judges = self.data.validations().map(|dataset| dataset.examples.first(SCORED_RECORDS));
        self.judges = judges.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Mean loss of the judging records, each data set alike.
    pub fn loss(&self, adapters: &Adapters<A::InnerBackend>) -> f64 {
        let losses =
            self.judges.iter().map(|judge| evaluate::score(self.decoder, Some(adapters), judge).loss);
        losses.sum::<f64>() / self.judges.len().max(1) as f64
    }
}

/// A trial with another batch size: as many records in all, and a rate that grows with the root of the batch.
fn other_batch<A: Ops + AutodiffBackend<InnerBackend: Ops>>(
    common: &Common<A>,
    own: &Stage2Settings,
    rate: f64,
    batch_size: u64,
    steps: u64,
) -> Result<Trial<A>, TrainError> {
    let factor = batch_size as f64 / own.batch_size as f64;
    let settings = Stage2Settings {
        batch_size,
        learning_rate: significant(rate * factor.sqrt()),
        iterations: ((own.iterations as f64 / factor).round() as u64).max(1),
        ..own.clone()
    };
    let steps = ((steps as f64 / factor).round() as u64).max(1);
    let mut trial = Trial::begin(common, settings, steps)?;
    trial.go_on(common, steps)?;
    Ok(trial)
}

/// Trains the trials, the better half further than the worse. All of them, the one that began first first.
fn halve<A>(
    common: &Common<A>,
    mut trials: Vec<Trial<A>>,
    meter: &mut TuningMeter,
) -> Result<Vec<Trial<A>>, TrainError>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let shares = GIVEN_UP_AT.into_iter().chain([1.0]);
    for (rung, share) in shares.enumerate() {
        let kept = trials.len().div_ceil(1 << rung).max(2);
        for index in ranking(&trials).into_iter().take(kept) {
            let steps = (trials[index].record().of_steps as f64 * share).ceil() as u64;
            trials[index].go_on(common, steps)?;
            meter.write();
        }
    }
    Ok(trials)
}

/// The trials from the best on: those that got furthest, then by loss, then as they began.
fn ranking<A: Ops + AutodiffBackend<InnerBackend: Ops>>(trials: &[Trial<A>]) -> Vec<usize> {
    let key = |index: &usize| {
        let TrialRecord { steps, of_steps, validation_loss, .. } = trials[*index].record();
        let done = steps as f64 / of_steps as f64;
        (validation_loss.is_none(), -done, validation_loss.unwrap_or(f64::INFINITY))
    };
    let mut order: Vec<usize> = (0..trials.len()).collect();
    order.sort_by(|a, b| {
        let ((lost_a, done_a, loss_a), (lost_b, done_b, loss_b)) = (key(a), key(b));
        lost_a.cmp(&lost_b).then(done_a.total_cmp(&done_b)).then(loss_a.total_cmp(&loss_b))
    });
    order
}

/// The trial to choose: of those that went to the end, the lowest rate among the best. Where none is left, the first.
fn best<A: Ops + AutodiffBackend<InnerBackend: Ops>>(trials: &[Trial<A>]) -> &Trial<A> {
    let order = ranking(trials);
    let loss = |index: usize| trials[index].record().validation_loss.unwrap_or(f64::INFINITY);
    let is_over = |index: &usize| trials[*index].record().steps == trials[*index].record().of_steps;
    let least = loss(order[0]);
    let as_good =
        order.iter().copied().filter(|index| is_over(index) && loss(*index) <= least * (1.0 + AS_GOOD));
    let rate = |index: &usize| trials[*index].settings().learning_rate;
    let chosen = as_good.min_by(|a, b| rate(a).total_cmp(&rate(b))).unwrap_or(order[0]);
    &trials[chosen]
}

/// `value` with two significant digits.
fn significant(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}
