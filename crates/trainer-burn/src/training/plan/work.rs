//! The work of a stage, counted without doing it: draws follow from the seed alone.

use greentune_core_config::{
    evaluation::FOLLOWED_RECORDS,
    layout::RunLayout,
    manifest::RunManifest,
    settings::{AstUnit, Settings, Stage2Settings},
    task::PlanStage,
};
use greentune_text_data::{Encoder, Example};

use crate::{
    error::TrainError,
    evaluate,
    stage::learning::{PROBED_RECORDS, probes},
    training::{
        feed::{Chosen, Feed},
        stage_data::StageData,
    },
};

/// Records of a stage that are drawn at most to count its tokens: the mean of so many says what the others have.
const COUNTED_RECORDS: u64 = 1 << 20;

/// A stage's data and the work that it makes.
pub(super) struct StageWork {
    /// What the plan is told.
    pub plan: PlanStage,
    /// Labelled tokens of the micro-batch that has most of them.
    pub largest_batch_labels: u64,
    /// The stage's data.
    pub data: StageData,
    /// Share of the draws that is trained on; 1 where nothing is selected.
    trained_share: f64,
    /// Those of the run, and those of the stage.
    all: Settings,
    settings: Stage2Settings,
}

/// The work of `stages`.
pub(super) fn of(
    manifest: &RunManifest,
    layout: &RunLayout,
    encoder: &Encoder,
    stages: &[u8],
) -> Result<Vec<StageWork>, TrainError> {
    stages.iter().map(|stage| StageWork::load(manifest, layout, encoder, *stage)).collect()
}

impl StageWork {
    /// Reads the data as training will.
    fn load(
        manifest: &RunManifest,
        layout: &RunLayout,
        encoder: &Encoder,
        stage: u8,
    ) -> Result<Self, TrainError> {
        let name = |role: &str| format!("plan-{}-{role}.examples", std::process::id());
        let spill = |role: &str| layout.training_data(stage).join(name(role));
        let mut work = Self {
            plan: PlanStage { stage, ..PlanStage::default() },
            largest_batch_labels: 0,
            data: StageData::load(manifest, encoder, stage, spill, |_| Ok(()))?,
            trained_share: 1.0,
            all: manifest.settings.clone(),
            settings: manifest.settings.training.stage(stage),
        };
        work.count_steps()?;
        work.count_evaluations()?;
        Ok(work)
    }

    /// The micro-batches of the stage without selection, from its first draw on.
    pub fn micro_batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<Vec<Example>, TrainError>>, TrainError> {
        let mut feed = Feed::dense(self.data.sampler(&self.all, self.plan.stage)?);
        let read = |draw| self.data.read(draw);
        let batch_size = self.settings.batch_size;
        Ok(std::iter::repeat_with(move || {
            let batch = feed.micro_batch(&self.all.training, batch_size, &read, &|_| Vec::new())?;
            Ok(batch.into_iter().map(|Chosen { example, .. }| example).collect())
        }))
    }

    /// Micro-batches per optimizer step.
    pub fn accumulation(&self) -> usize {
        self.settings.gradient_accumulation as usize
    }

    /// Counts the steps of training on all records, of a long stage the first ones. Where records are selected, it counts
    /// the steps of the target share.
    fn count_steps(&mut self) -> Result<(), TrainError> {
        let batches = self.settings.iterations * self.settings.gradient_accumulation;
        let counted = batches.min((COUNTED_RECORDS / self.settings.batch_size).max(1));
        let (mut total, mut largest, mut labels) = (0, 0, 0);
        for examples in self.micro_batches()?.take(counted as usize) {
            let examples = examples?;
            let tokens = tokens_of(&examples);
            total += tokens;
            largest = largest.max(tokens);
            labels = labels.max(examples.iter().map(|example| example.labelled_tokens() as u64).sum());
        }
        if counted < batches {
            total = (total as f64 / counted as f64 * batches as f64).round() as u64;
        }
        self.plan.tokens = total;
        self.plan.largest_batch_tokens = largest;
        self.largest_batch_labels = labels;
        let ast = &self.all.ast;
        if ast.enabled {
            let warm_up = self.warm_up_share()?;
            // Tokens that are not selected pass through the model too.
            let rate = if ast.unit == AstUnit::Token { 1.0 } else { ast.target_activation_rate };
            self.trained_share = warm_up + (1.0 - warm_up) * rate;
            self.plan.tokens = (total as f64 * self.trained_share).round() as u64;
            if ast.policy.scores() {
                let own = 1.0 - if self.data.replay.is_some() { self.settings.replay_ratio } else { 0.0 };
                self.plan.evaluation_tokens += (total as f64 * own * (1.0 - warm_up)).round() as u64;
            }
            self.take_longest_batch()?;
        }
        Ok(())
    }

    /// Share of the stage's own draws that the warm-up of adaptive sparse training takes.
    fn warm_up_share(&self) -> Result<f64, TrainError> {
        let passes = if self.plan.stage == 1 { self.all.warmup_epochs() } else { 0 };
        let mut sampler = self.data.own_sampler(&self.all, self.plan.stage)?;
        let all = self.settings.iterations * self.settings.batch_size * self.settings.gradient_accumulation;
        let mut drawn = 0;
        for _ in 0..passes {
            drawn = sampler.own_pass(drawn).1.end.min(all);
            if drawn == all {
                break;
            }
        }
        Ok(drawn as f64 / all.max(1) as f64)
    }

    /// It is not known which records meet in a batch where records are selected, so the longest ones may.
    fn take_longest_batch(&mut self) -> Result<(), TrainError> {
        let mut records: Vec<(u64, u64)> = Vec::new();
        for dataset in self.data.drawn_from() {
            for example in dataset.examples.iter() {
                let example = example?;
                records.push((tokens_of([&example]), example.labelled_tokens() as u64));
            }
        }
        records.sort_unstable_by(|a, b| b.cmp(a));
        records.truncate(self.settings.batch_size as usize);
        self.plan.largest_batch_tokens = records.iter().map(|(tokens, _)| tokens).sum();
        self.largest_batch_labels = records.iter().map(|(_, labels)| labels).sum();
        Ok(())
    }

    /// As a stage evaluates: the first records now and then, base and stages on all of them at the end.
    fn count_evaluations(&mut self) -> Result<(), TrainError> {
        let steps = (self.settings.iterations as f64 * self.trained_share).ceil() as u64;
        let times = (steps - 1) / self.all.training.eval_steps;
        let generate = self.all.evaluation.generate_records as usize;
        let followed = self.data.validation.examples.first(FOLLOWED_RECORDS)?;
        let plan = &mut self.plan;
        plan.evaluation_tokens += times * tokens_of(&followed);
        plan.evaluation_records = times * followed.len() as u64;
        let (probes, probed) = (probes(steps), &followed[..followed.len().min(PROBED_RECORDS)]);
        plan.evaluation_tokens += probes * tokens_of(probed);
        plan.evaluation_records += probes * probed.len() as u64;
        for (index, dataset) in self.data.validations().enumerate() {
            // Base and every stage so far on the stage's own records, this stage alone on earlier ones.
            let models = if index == 0 { 1 + u64::from(plan.stage) } else { 1 };
            let mut generated = 0;
            for example in dataset.examples.iter() {
                let example = example?;
                plan.evaluation_tokens += models * tokens_of([&example]);
                if generated < generate && example.text.is_some() {
                    generated += 1;
                    plan.generated_tokens += models * evaluate::generation_limit(&example) as u64;
                }
            }
            plan.evaluation_records += models * dataset.examples.len() as u64;
            plan.generated_records += models * generated as u64;
        }
        Ok(())
    }

    /// Tokens of the largest batch of an evaluation.
    pub fn largest_evaluation_tokens(&self) -> Result<u64, TrainError> {
        let mut largest = 0;
        for dataset in self.data.validations() {
            for examples in dataset.examples.chunks(evaluate::EXAMPLES_AT_ONCE) {
                let examples = examples?;
                let batches = evaluate::batches(&examples);
                largest = batches.into_iter().map(tokens_of).max().unwrap_or(0).max(largest);
            }
        }
        Ok(largest)
    }

    /// Bytes that the encoded records take.
    pub fn bytes(&self) -> u64 {
        let datasets = self.data.drawn_from().chain(self.data.validations());
        datasets.map(|dataset| dataset.examples.bytes_in_memory()).sum()
    }
}

/// Tokens that go through the model: the last of a record predicts nothing.
pub(super) fn tokens_of<'a>(examples: impl IntoIterator<Item = &'a Example>) -> u64 {
    examples.into_iter().map(|example| example.tokens.len() as u64 - 1).sum()
}
