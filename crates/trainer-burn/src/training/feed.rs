//! The records that a stage trains on: those that are drawn, or those of them that are selected.

use std::{collections::VecDeque, ops::Range};

use greentune_ast_sparsity::{Accounting, Needs, Observation, Progress, Selected, SelectionError, Selector};
use greentune_core_config::{
    selection::SelectionSoFar,
    settings::{Stage2Settings, TrainingSettings},
};
use serde::{Deserialize, Serialize};

use super::{selection::since, step::Weighted};
use crate::{
    data::{DataError, Draw, Example, Sampler},
    error::TrainError,
};

/// A record to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Where it is from.
    pub draw: Draw,
    /// Factor of its loss; 1 where nothing is selected.
    pub weight: f32,
    /// The record.
    pub example: Example,
}

impl Chosen {
    /// As a step takes it.
    pub fn weighted(&self) -> Weighted<'_> {
        Weighted { example: &self.example, weight: self.weight }
    }
}

/// Reads drawn records.
pub type Read<'a> = &'a dyn Fn(Draw) -> Result<Example, DataError>;
/// What the model says of records, asked where selection needs it.
pub type Score<'a> = &'a dyn Fn(&[Example]) -> Vec<Observation>;

/// Where selection stands between two steps: with the state of the selector all that it goes on from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// Draws of the stage's own records that selection has decided on.
    pub candidates: u64,
    /// Selected and not trained on: copy ([`Draw::copy`]) and weight.
    pub waiting: VecDeque<(usize, f32)>,
}

/// Draws on their way to training.
pub struct Feed {
    sampler: Sampler,
    selection: Option<Selection>,
}

impl Feed {
    /// Every draw of `sampler`, for ever.
    pub fn dense(sampler: Sampler) -> Self {
        Self { sampler, selection: None }
    }

    /// Of the draws that `settings` would train on, those that `selector` takes after `warm_up` whole passes. It goes
    /// on from `offered`, and selects among [`Sampler::copies`].
    pub fn sparse(
        mut sampler: Sampler,
        selector: Selector,
        offered: Offered,
        settings: &Stage2Settings,
        warm_up: u64,
    ) -> Self {
        let records = (settings.batch_size * settings.gradient_accumulation) as f64;
        let per_step = records * (1.0 - sampler.replay_ratio());
        let total = (per_step * settings.iterations as f64).round() as u64;
        let (last_pass, _) = sampler.own_pass(total.saturating_sub(1));
        let (pass, range) = match offered.candidates.checked_sub(1) {
            Some(last) => sampler.own_pass(last),
            None => (0, 0..0),
        };
        let (chunk, passes) = (settings.batch_size, last_pass + 1);
        let selection = Selection { selector, offered, total, per_step, chunk, warm_up, passes, pass, range };
        Self { sampler, selection: Some(selection) }
    }

    /// The records of one forward pass: `batch_size` of them or, with packing, as many as fit into
    /// `batch_size · max_seq_length` tokens, at least one. A record that does not fit is drawn again for the next.
    /// Fewer where a sparse stage ends.
    pub fn micro_batch(
        &mut self,
        training: &TrainingSettings,
        batch_size: u64,
        read: Read,
        score: Score,
    ) -> Result<Vec<Chosen>, TrainError> {
        let mut batch: Vec<Chosen> = Vec::new();
        let mut room = (batch_size * training.max_seq_length) as usize;
        while training.packing || (batch.len() as u64) < batch_size {
            let before = self.sampler.drawn();
            let Some((draw, weight)) = self.next(read, score)? else { break };
            let example = read(draw)?;
            if training.packing {
                let tokens = example.tokens.len();
                if tokens > room && !batch.is_empty() {
                    self.sampler.seek(before);
                    break;
                }
                room = room.saturating_sub(tokens);
            }
            batch.push(Chosen { draw, weight, example });
        }
        Ok(batch)
    }

    fn next(&mut self, read: Read, score: Score) -> Result<Option<(Draw, f32)>, TrainError> {
        let position = self.sampler.drawn();
        if !self.fill(read, score)? {
            return Ok(None);
        }
        let Some(selection) = &mut self.selection else { return Ok(self.sampler.next().map(whole)) };
        let replayed = self.sampler.replayed(position).map(whole);
        let chosen = replayed.or_else(|| {
            let (copy, weight) = selection.offered.waiting.pop_front()?;
            Some((self.sampler.own_copy(copy), weight))
        });
        self.sampler.seek(position + 1);
        Ok(chosen)
    }

    /// Whether something is left to train on; has selection decide until it is, or nothing is left.
    pub fn fill(&mut self, read: Read, score: Score) -> Result<bool, TrainError> {
        let Some(selection) = &mut self.selection else { return Ok(true) };
        while selection.offered.waiting.is_empty() && selection.offered.candidates < selection.total {
            selection.offer(&mut self.sampler, read, score)?;
        }
        Ok(!selection.offered.waiting.is_empty())
    }

    /// Records trained on so far.
    pub fn drawn(&self) -> u64 {
        self.sampler.drawn()
    }

    /// Tells selection what training saw of records.
    pub fn observe(
        &mut self,
        trained: &[&Chosen],
        observations: &[Observation],
    ) -> Result<(), SelectionError> {
        let Some(selection) = &mut self.selection else { return Ok(()) };
        let own = trained.iter().zip(observations).filter(|(chosen, _)| !chosen.draw.replay);
        let (ids, observations): (Vec<usize>, Vec<Observation>) =
            own.map(|(chosen, observation)| (chosen.draw.copy, *observation)).unzip();
        selection.selector.observe(&ids, &observations)
    }

    /// What thins the draws out, where something does.
    pub fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }
}

/// What thins draws out.
///
/// The stage's own records are the candidates, in the order in which dense training draws them. A sample is a copy of a
/// record in a pass, so that records that are drawn more often are candidates more often. Replayed records are none:
/// they keep their share of what is trained on.
pub struct Selection {
    selector: Selector,
    offered: Offered,
    /// Candidates of the stage.
    total: u64,
    /// Candidates per step of dense training.
    per_step: f64,
    /// Candidates that are decided on at once.
    chunk: u64,
    /// First passes, in which everything is selected.
    warm_up: u64,
    /// Passes that the stage begins.
    passes: u64,
    /// The pass under way, and its candidates.
    pass: u64,
    range: Range<u64>,
}

impl Selection {
    /// What decides.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// What it has decided on.
    pub fn offered(&self) -> &Offered {
        &self.offered
    }

    /// What was selected so far, the warm-up included.
    pub fn so_far(&self) -> SelectionSoFar {
        let mut so_far = since(Accounting::default(), self.selector.accounting());
        let warm_up = self.offered.candidates - so_far.candidates;
        so_far.candidates += warm_up;
        so_far.selected += warm_up;
        so_far
    }

    /// Passes over the stage's own records that it begins.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Passes so far, with what of the last one is decided on.
    pub fn passes_done(&self) -> f64 {
        let within = self.offered.candidates - self.range.start;
        self.pass as f64 + within as f64 / (self.range.end - self.range.start).max(1) as f64
    }

    /// Steps that dense training would have done on as many candidates.
    pub fn dense_steps(&self) -> u64 {
        let passed = self.offered.candidates.saturating_sub(self.offered.waiting.len() as u64);
        (passed as f64 / self.per_step) as u64
    }

    /// Steps that are left at an activation rate of `rate`.
    pub fn steps_left(&self, rate: f64) -> u64 {
        let selected = (self.total - self.offered.candidates) as f64 * rate;
        ((selected + self.offered.waiting.len() as f64) / self.per_step).ceil() as u64
    }

    /// Has the next candidates decided on.
    fn offer(&mut self, sampler: &mut Sampler, read: Read, score: Score) -> Result<(), TrainError> {
        let first = self.offered.candidates;
        if first == self.range.end {
            (self.pass, self.range) = sampler.own_pass(first);
            if let Some(epoch) = self.pass.checked_sub(self.warm_up) {
                let epochs = (self.passes - self.warm_up) as usize;
                self.selector.start_epoch(Progress { epoch: epoch as usize, epochs })?;
            }
        }
        let end = (first + self.chunk).min(self.range.end).min(self.total);
        let draws: Vec<Draw> = (first..end).map(|position| sampler.own(position)).collect();
        let copies: Vec<usize> = draws.iter().map(|draw| draw.copy).collect();
        if self.pass < self.warm_up {
            self.offered.waiting.extend(copies.into_iter().map(|copy| (copy, 1.0)));
        } else {
            let fresh = if self.selector.needs() == Needs::Fresh {
                score(&draws.into_iter().map(read).collect::<Result<Vec<_>, _>>()?)
            } else {
                Vec::new()
            };
            let mut selected: Vec<Selected> = Vec::new();
            self.selector.select(&copies, &fresh, &mut selected)?;
            self.offered.waiting.extend(selected.into_iter().map(|sample| (sample.id, sample.weight)));
        }
        self.offered.candidates = end;
        Ok(())
    }
}

fn whole(draw: Draw) -> (Draw, f32) {
    (draw, 1.0)
}

#[cfg(test)]
mod tests {
    use greentune_core_config::settings::{AstPolicy, Settings};

    use super::*;
    use crate::{data::Replay, training::selection::selector};

    fn examples(lengths: &[usize]) -> Vec<Example> {
        lengths.iter().map(|length| Example::new(vec![1; *length], [1..*length])).collect()
    }

    #[test]
    fn packing_fills_batches_and_passes_over_no_draw() {
        let examples = examples(&[30, 7, 12, 21, 3, 18, 25, 9]);
        let weights = vec![1.0; examples.len()];
        let read = |draw: Draw| Ok(examples[draw.index].clone());
        let training = TrainingSettings { packing: true, max_seq_length: 30, ..TrainingSettings::default() };
        let mut plain = Sampler::new(5, &weights, None).unwrap();
        let mut feed = Feed::dense(Sampler::new(5, &weights, None).unwrap());
        for _ in 0..50 {
            let batch = feed.micro_batch(&training, 2, &read, &|_| Vec::new()).unwrap();
            let tokens: usize = batch.iter().map(|chosen| chosen.example.tokens.len()).sum();
            assert!(tokens <= 60 && tokens > 60 - 30, "{tokens}");
            for record in batch {
                assert_eq!(record.draw, plain.next().unwrap());
            }
        }
        assert_eq!(plain.drawn(), feed.drawn());
    }

    /// A stage of 600 candidates of 4 a step, from where `at` stands, and its draws.
    struct Stage {
        settings: Settings,
        weights: Vec<f64>,
        ratio: f64,
        warm_up: u64,
    }

    impl Stage {
        fn new(policy: AstPolicy) -> Self {
            let mut settings = Settings::default();
            (settings.ast.enabled, settings.ast.policy) = (true, policy);
            Self { settings, weights: vec![1.0; 100], ratio: 0.0, warm_up: 0 }
        }

        fn sampler(&self) -> Sampler {
            let replay = Replay { weights: vec![1.0; 20], ratio: self.ratio };
            Sampler::new(5, &self.weights, Some(replay)).unwrap()
        }

        fn selector(&self) -> Selector {
            selector(&self.settings, self.sampler().copies()).unwrap()
        }

        fn feed(&self, sampler: Sampler, selector: Selector, offered: Offered) -> Feed {
            let stage = Stage2Settings {
                iterations: 150,
                batch_size: 4,
                gradient_accumulation: 1,
                ..Stage2Settings::default()
            };
            Feed::sparse(sampler, selector, offered, &stage, self.warm_up)
        }

        fn begin(&self) -> Feed {
            self.feed(self.sampler(), self.selector(), Offered::default())
        }
    }

    /// The next batch, trained on: records of high index have high losses.
    fn train(feed: &mut Feed) -> Vec<(Draw, f32)> {
        let read = |draw: Draw| Ok(Example { line: draw.index as u64, ..examples(&[4]).remove(0) });
        let observed = |example: &Example| Observation { loss: 0.1 + example.line as f32, entropy: 1.0 };
        let score = |examples: &[Example]| examples.iter().map(observed).collect();
        let batch = feed.micro_batch(&TrainingSettings::default(), 4, &read, &score).unwrap();
        let trained: Vec<&Chosen> = batch.iter().collect();
        let observations: Vec<_> = batch.iter().map(|chosen| observed(&chosen.example)).collect();
        feed.observe(&trained, &observations).unwrap();
        batch.iter().map(|chosen| (chosen.draw, chosen.weight)).collect()
    }

    fn all(feed: &mut Feed) -> Vec<(Draw, f32)> {
        let batches = std::iter::repeat_with(|| train(feed));
        batches.take_while(|batch| !batch.is_empty()).flatten().collect()
    }

    #[test]
    fn every_policy_holds_its_rate_and_ends() {
        for policy in [AstPolicy::Ast, AstPolicy::Random, AstPolicy::Quantile] {
            let mut feed = Stage::new(policy).begin();
            let trained = all(&mut feed).len() as f64;
            assert!((trained / 600.0 - 0.4).abs() < 0.03, "{policy}: {trained}");
            let selection = feed.selection().unwrap();
            assert_eq!((selection.dense_steps(), selection.steps_left(0.4)), (150, 0));
            assert!((selection.passes_done() - 6.0).abs() < 1e-9);
            assert_eq!(selection.so_far().candidates, 600);
        }
    }

    #[test]
    fn without_selection_the_draws_are_those_of_dense_training() {
        let mut stage = Stage::new(AstPolicy::Full);
        (stage.ratio, stage.weights) = (0.25, (0..100).map(|i| 1.0 + f64::from(i % 3)).collect());
        let drawn: Vec<Draw> = all(&mut stage.begin()).into_iter().map(|(draw, _)| draw).collect();
        // It ends with the last of its own: what is replayed after that is left out.
        assert_eq!(drawn, stage.sampler().take(599).collect::<Vec<_>>());
    }

    #[test]
    fn replayed_records_keep_their_share_and_favoured_ones_theirs() {
        let mut stage = Stage::new(AstPolicy::Random);
        (stage.ratio, stage.weights) = (0.25, (0..100).map(|i| if i < 50 { 1.0 } else { 3.0 }).collect());
        let trained = all(&mut stage.begin());
        let replayed = trained.iter().filter(|(draw, _)| draw.replay).count() as f64;
        assert!((replayed / trained.len() as f64 - 0.25).abs() < 0.01, "{replayed} of {}", trained.len());
        let own: Vec<_> = trained.iter().filter(|(draw, _)| !draw.replay).collect();
        assert!((own.len() as f64 / 450.0 - 0.4).abs() < 0.03, "{}", own.len());
        let favoured = own.iter().filter(|(draw, _)| draw.index >= 50).count() as f64;
        assert!((favoured / own.len() as f64 - 0.75).abs() < 0.06, "{favoured} of {}", own.len());
    }

    #[test]
    fn the_warm_up_trains_on_everything() {
        let stage = Stage { warm_up: 2, ..Stage::new(AstPolicy::Ast) };
        let mut feed = stage.begin();
        let trained = all(&mut feed);
        let dense: Vec<Draw> = stage.sampler().take(200).collect();
        assert!(trained.iter().map(|(draw, _)| *draw).take(200).eq(dense));
        let so_far = feed.selection().unwrap().so_far();
        assert_eq!((so_far.candidates, so_far.selected), (600, trained.len() as u64));
        assert!((trained.len() as f64 - 200.0 - 160.0).abs() < 3.0, "{}", trained.len());
    }

    #[test]
    fn high_losses_come_more_often_with_ast() {
        let trained = all(&mut Stage::new(AstPolicy::Ast).begin());
        let hard = trained.iter().filter(|(draw, _)| draw.index >= 50).count();
        assert!(hard as f64 > 0.6 * trained.len() as f64, "{hard} of {}", trained.len());
    }

    #[test]
    fn a_stage_that_is_taken_up_anywhere_trains_on_the_same() {
        for policy in [AstPolicy::Ast, AstPolicy::Infobatch, AstPolicy::Quantile, AstPolicy::Sundew] {
            let stage = Stage { ratio: 0.2, warm_up: 1, ..Stage::new(policy) };
            let mut feed = stage.begin();
            let whole = all(&mut stage.begin());
            let mut again = Vec::new();
            for batches in 0.. {
                let batch = train(&mut feed);
                if batch.is_empty() {
                    break;
                }
                again.extend(batch);
                if batches % 3 == 0 {
                    let selection = feed.selection().unwrap();
                    let mut restored = stage.selector();
                    restored.restore(&selection.selector().snapshot()).unwrap();
                    let mut sampler = stage.sampler();
                    sampler.seek(feed.drawn());
                    feed = stage.feed(sampler, restored, selection.offered().clone());
                }
            }
            assert_eq!(again, whole, "{policy}");
        }
    }
}
