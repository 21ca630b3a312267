//! One stage of a run: its data, its steps and what it evaluates.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use greentune_ast_sparsity::Observation;
use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport, FOLLOWED_RECORDS, RecordOutputs, side_by_side},
    event::{EventKind, SampleMetrics, StepMetrics},
    lora_rate::lora_learning_rate,
    port::RunReporter,
    settings::{AstPolicy, AstUnit, Stage2Settings, TrainingSettings},
};
use greentune_text_data::{DataError, Dataset, Example, overlap};
use serde_json::json;

use super::{
    Run,
    checkpoint::{self, Checkpoint, Progress},
    feed::{Chosen, Feed, Offered, Selection, Units},
    optimizer::{Optimizer, OptimizerSettings, clip},
    schedule::learning_rate,
    stage_data::StageData,
    step::{self, Activations, StepGradients, Trained, Weighted},
};
use crate::{
    durable,
    error::TrainError,
    evaluate::{self, Plan},
    model::Adapters,
    ops::Ops,
    stage::{
        Cadence, Pace, Stage, StageEnd, StageHost,
        learning::{Chance, PROBED_RECORDS, Probe},
        selection,
    },
};

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> Run<'_, A> {
    /// Trains a stage to its end. Returns the step at which it was cancelled, if it was.
    pub(super) fn train_stage(
        &self,
        stage: u8,
        reporter: &mut dyn RunReporter,
    ) -> Result<Option<u64>, TrainError> {
        let all = &self.manifest.settings;
        let settings = all.training.stage(stage);
        let mut host = StageHost::new(stage, all, self.layout, cadence(&all.training), reporter);
        let data = self.load_data(stage, &mut host)?;
        let mut state = self.starting_point(stage, &mut host)?;
        let feed = self.feed(stage, &settings, &data, &mut state)?;
        if let Some(message) = self.too_few_passes(&feed) {
            host.warn("selection.one_pass", message)?;
        }
        let run = StageRun { run: self, stage, settings, data, state, feed };
        host.report(EventKind::StageStarted {
            stage,
            total_steps: run.total_steps(),
            from_step: run.steps_done(),
            train_records: run.data.train.examples.len() as u64,
            trainable_parameters: run.state.adapters.parameters.count(),
        })?;
        let model = self.decoder.config();
        host.expect_more_than(Chance::among(model.vocab_size as u64));
        let width = Some(model.hidden_size as u64);
        host.suggest_rate(lora_learning_rate(stage, &all.training, &all.lora, width));
        host.start_meter(self.surroundings)?;
        host.run(run)
    }

    /// Reads the stage's data, and says what is odd about it.
    fn load_data(&self, stage: u8, host: &mut StageHost) -> Result<StageData, TrainError> {
        let folder = self.layout.training_data(stage);
        let spill = |role: &str| folder.join(format!("{role}.examples"));
        let data =
            StageData::load(self.manifest, &self.encoder, stage, spill, |dataset| match dataset.warning() {
                Some(message) => host.warn("data.dropped", message),
                None => Ok(()),
            })?;
        let shared = overlap(&data.train.examples, &data.validation.examples)?;
        if shared > 0 {
            let message = format!(
                "{shared} of {} validation records are also in the training data of stage {stage}; figures on them say nothing about new records",
                data.validation.examples.len()
            );
            host.warn("data.overlap", message)?;
        }
        self.write_summary(&folder, &data.train, &data.validation)?;
        Ok(data)
    }

    /// `training-data/summary.json`: what was read, kept and dropped.
    fn write_summary(&self, folder: &Path, train: &Dataset, validation: &Dataset) -> Result<(), TrainError> {
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        let of = |dataset: &Dataset| {
            json!({
                "dataset": dataset.path,
                "format": dataset.format,
                "schema": dataset.schema,
                "counts": dataset.counts,
            })
        };
        let summary = json!({
            "template_source": self.encoder.template_source(train.schema),
            "train": of(train),
            "validation": of(validation),
        });
        durable::write(&folder.join("summary.json"), format!("{summary:#}\n").as_bytes())
    }

    /// The newest checkpoint of the stage, or its beginning: fresh adapters, or those of the stage before.
    fn starting_point(
        &self,
        stage: u8,
        host: &mut StageHost,
    ) -> Result<Checkpoint<A::InnerBackend>, TrainError> {
        let settings = &self.manifest.settings;
        let optimizer = OptimizerSettings::from(settings);
        let folder = self.layout.checkpoints(stage);
        let (found, broken) =
            checkpoint::latest(&folder, &self.decoder, &self.lora, &optimizer, &self.device)?;
        broken.into_iter().try_for_each(|said| host.warn("checkpoint.broken", said))?;
        if let Some(found) = found {
            return Ok(found);
        }
        let adapters = if stage > 1 {
            self.adapters_of(stage - 1)?
        } else {
            Adapters::fresh(&self.decoder, self.lora.clone(), settings.training.seed, &self.device)
        };
        let progress = Progress { step: 0, draws: 0, duration_seconds: 0.0, recent_losses: Vec::new() };
        let optimizer = Optimizer::new(&adapters.parameters, optimizer);
        Ok(Checkpoint { progress, selection: None, adapters, optimizer })
    }

    /// What the stage trains on, from where `state` stands.
    fn feed(
        &self,
        stage: u8,
        settings: &Stage2Settings,
        data: &StageData,
        state: &mut Checkpoint<A::InnerBackend>,
    ) -> Result<Feed, TrainError> {
        let all = &self.manifest.settings;
        let mut sampler = data.sampler(all, stage)?;
        sampler.seek(state.progress.draws);
        if !all.ast.enabled {
            return Ok(Feed::dense(sampler));
        }
        let labelled = match all.ast.unit {
            AstUnit::Sample => Vec::new(),
            AstUnit::Token => {
                let examples = data.train.examples.iter();
                examples.map(|example| Ok(example?.labelled_tokens())).collect::<Result<_, DataError>>()?
            }
        };
        let units = Units::new(all.ast.unit, &sampler, &labelled);
        let mut selector = selection::selector(all, units.count(&sampler))?;
        let offered = match state.selection.take() {
            Some(found) => {
                selector.restore(&found.selector)?;
                found.offered
            }
            None => Offered::default(),
        };
        let warm_up = if stage == 1 { all.warmup_epochs() } else { 0 };
        Ok(Feed::sparse(sampler, units, selector, offered, settings, warm_up))
    }

    /// The warning for a policy that remembers scores and has no pass in which to use them.
    fn too_few_passes(&self, feed: &Feed) -> Option<String> {
        let policy = self.manifest.settings.ast.policy;
        feed.selection().filter(|selection| policy.remembers() && selection.passes() < 2)?;
        Some(format!(
            "ast.policy {policy} goes by the losses of the pass before, and there is one pass over these records: {}; \
             quantile asks for fresh scores, at the price of a forward pass for every record",
            if policy == AstPolicy::Ast { "it selects at random" } else { "it selects everything" }
        ))
    }
}

fn cadence(training: &TrainingSettings) -> Cadence {
    Cadence {
        evaluation_steps: Some(training.eval_steps),
        checkpoint_steps: Some(training.save_steps),
        meters_with_checkpoints: true,
    }
}

/// A stage while it is trained.
struct StageRun<'a, 'r, A: AutodiffBackend<InnerBackend: Ops>> {
    run: &'a Run<'r, A>,
    stage: u8,
    settings: Stage2Settings,
    data: StageData,
    state: Checkpoint<A::InnerBackend>,
    feed: Feed,
}

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> Stage for StageRun<'_, '_, A> {
    fn steps_done(&self) -> u64 {
        self.state.progress.step
    }

    fn is_left(&mut self, host: &mut StageHost) -> Result<bool, TrainError> {
        // Selection may score records to find the next one, which is part of a step's time.
        host.pace = Pace::start(0);
        if self.feed.selection().is_none() {
            return Ok(self.steps_done() < self.settings.iterations);
        }
        let Self { run, data, state, feed, .. } = self;
        feed.fill(&|draw| data.read(draw), &|examples| scored(run, state, examples))
    }

    /// One optimizer step; none where no token of the next records is selected.
    fn advance(&mut self, host: &mut StageHost) -> Result<(), TrainError> {
        let rate = learning_rate(&self.settings, self.dense_steps());
        let drawn = self.draw()?;
        if drawn.is_empty() {
            self.state.progress.draws = self.feed.drawn();
            return Ok(());
        }
        let training = &self.run.manifest.settings.training;
        let out = self.gradients(&drawn);
        let (gradients, norm) = clip(out.gradients, training.max_grad_norm);
        if !out.loss.is_finite() || !norm.is_finite() {
            let step = self.steps_done() + 1;
            return Err(TrainError::Diverged { stage: self.stage, step, loss: out.loss });
        }
        let trained: Vec<&Chosen> = drawn.iter().flatten().collect();
        self.feed.observe(&trained, &out.scores)?;
        self.state.adapters.parameters =
            self.state.optimizer.update(&self.state.adapters.parameters, &gradients, rate);
        let seconds = host.pace.elapsed().as_secs_f64();
        let progress = &mut self.state.progress;
        progress.step += 1;
        progress.draws = self.feed.drawn();
        progress.duration_seconds += seconds;
        if self.dense_steps() > self.settings.iterations - self.settings.iterations.div_ceil(10) {
            self.state.progress.recent_losses.push(out.loss);
        }
        let samples = self.feed.selection().map(|selection| SampleMetrics {
            trained: trained.len() as u64,
            per_second: trained.len() as f64 / seconds,
            epoch: selection.passes_done(),
            selection: Some(selection.so_far()),
        });
        host.report(EventKind::Step(StepMetrics {
            stage: self.stage,
            step: self.steps_done(),
            total_steps: self.total_steps(),
            train_loss: out.loss,
            learning_rate: rate,
            gradient_norm: norm,
            tokens: out.tokens,
            tokens_per_second: out.tokens as f64 / seconds,
            samples,
        }))
    }

    /// Loss and accuracy on the first validation records; at the end of the stage all of them are evaluated.
    fn evaluate(&mut self, host: &mut StageHost) -> Result<(), TrainError> {
        if self.dense_steps() >= self.settings.iterations {
            return Ok(());
        }
        let examples = self.data.validation.examples.first(FOLLOWED_RECORDS)?;
        let scores = evaluate::score(&self.run.decoder, Some(&self.state.adapters), &examples);
        host.report(EventKind::Evaluated {
            stage: self.stage,
            step: self.steps_done(),
            validation_loss: scores.loss,
            perplexity: scores.loss.exp(),
            token_accuracy: scores.token_accuracy,
        })
    }

    fn probe(&mut self) -> Result<Option<Probe>, TrainError> {
        let examples = self.data.validation.examples.first(PROBED_RECORDS)?;
        let loss = evaluate::score(&self.run.decoder, Some(&self.state.adapters), &examples).loss;
        let up_to = |steps: u64| (0..steps).map(|step| learning_rate(&self.settings, step)).sum::<f64>();
        let all = up_to(self.settings.iterations);
        let share = if all > 0.0 { up_to(self.dense_steps()) / all } else { 0.0 };
        Ok(Some(Probe { loss, share }))
    }

    fn save(&mut self, folder: &Path) -> Result<(), TrainError> {
        checkpoint::write(folder, &self.state, &self.feed, &self.run.manifest.base_model_name())
    }

    /// Saves the adapters and compares the models.
    fn finish(&mut self, host: &mut StageHost) -> Result<StageEnd, TrainError> {
        let (layout, base) = (self.run.layout, self.run.manifest.base_model_name());
        self.state.adapters.save(&layout.adapters(self.stage), &base)?;
        self.state.adapters.save(&layout.final_model(), &base)?;
        let (reports, outputs) = self.reports()?;
        host.write_evaluation(&reports)?;
        host.write_outputs(&outputs)?;
        host.report(EventKind::ModelsEvaluated { stage: self.stage, reports })?;
        let Progress { duration_seconds, recent_losses, .. } = &self.state.progress;
        Ok(StageEnd {
            duration_seconds: *duration_seconds,
            final_train_loss: recent_losses.iter().fold(0.0, |sum, loss| sum + loss)
                / recent_losses.len().max(1) as f64,
        })
    }
}

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> StageRun<'_, '_, A> {
    /// Steps of the stage: those that are done, and those still to come at the target rate.
    fn total_steps(&self) -> u64 {
        let rate = self.run.manifest.settings.ast.target_activation_rate;
        let sparse = |selection: &Selection| self.steps_done() + selection.steps_left(rate);
        self.feed.selection().map_or(self.settings.iterations, sparse)
    }

    /// The position of the stage, in steps of training without selection. The learning rate follows them.
    fn dense_steps(&self) -> u64 {
        self.feed.selection().map_or(self.steps_done(), Selection::dense_steps)
    }

    /// The micro-batches of a step that are not empty.
    fn draw(&mut self) -> Result<Vec<Vec<Chosen>>, TrainError> {
        let Self { run, settings, data, state, feed, .. } = self;
        let training = &run.manifest.settings.training;
        let (read, score) = (|draw| data.read(draw), |examples: &[Example]| scored(run, state, examples));
        let mut drawn: Vec<Vec<Chosen>> = (0..settings.gradient_accumulation)
            .map(|_| feed.micro_batch(training, settings.batch_size, &read, &score))
            .collect::<Result<_, _>>()?;
        drawn.retain(|batch| !batch.is_empty());
        Ok(drawn)
    }

    fn gradients(&self, drawn: &[Vec<Chosen>]) -> StepGradients<A::InnerBackend> {
        let micro_batches: Vec<Vec<Weighted>> =
            drawn.iter().map(|batch| batch.iter().map(Chosen::weighted).collect()).collect();
        let training = &self.run.manifest.settings.training;
        let dropout_seed = mix(training.seed, u64::from(self.stage), self.steps_done());
        let trained = Trained::Adapters(self.state.adapters.clone());
        let activations = Activations::of(training);
        step::gradients::<A>(&self.run.decoder, &trained, &micro_batches, activations, dropout_seed)
    }

    /// Base and stages on this stage's validation records, with what they wrote, and this stage on the earlier ones
    /// (forgetting).
    fn reports(&self) -> Result<(Vec<EvaluationReport>, Vec<RecordOutputs>), TrainError> {
        let run = self.run;
        let settings = &run.manifest.settings.evaluation;
        let generate_records = settings.generate_records as usize;
        let plan = Plan { encoder: &run.encoder, generate_records, settings };
        let mut earlier = Vec::new();
        for stage in 1..self.stage {
            earlier.push((EvaluatedModel::Stage(stage), run.adapters_of(stage)?));
        }
        let this = (EvaluatedModel::Stage(self.stage), &self.state.adapters);
        let trained = earlier.iter().map(|(model, adapters)| (*model, adapters)).chain([this]);
        let models = [(EvaluatedModel::Base, None)]
            .into_iter()
            .chain(trained.map(|(model, adapters)| (model, Some(adapters))));
        let role = format!("stage{} validation", self.stage);
        let mut evaluated = Vec::new();
        for (model, adapters) in models {
            evaluated.push(plan.report(&run.decoder, adapters, &self.data.validation, model, &role)?);
        }
        let outputs = side_by_side(evaluated.iter().map(|one| (one.report.model, one.generated.as_slice())));
        if let Some(dataset) = &self.data.earlier_validation {
            let (model, adapters) = this;
            evaluated.push(plan.report(&run.decoder, Some(adapters), dataset, model, "stage1 validation")?);
        }
        Ok((evaluated.into_iter().map(|one| one.report).collect(), outputs))
    }
}

/// What the model says of records that selection asks about.
fn scored<A: AutodiffBackend<InnerBackend: Ops>>(
    run: &Run<A>,
    state: &Checkpoint<A::InnerBackend>,
    examples: &[Example],
) -> Vec<Observation> {
    evaluate::observe(&run.decoder, Some(&state.adapters), examples)
}

/// A seed for one step of one stage (SplitMix64's finaliser over the three numbers).
pub(super) fn mix(seed: u64, stage: u64, step: u64) -> u64 {
    let mut z = seed ^ stage.rotate_left(48) ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
