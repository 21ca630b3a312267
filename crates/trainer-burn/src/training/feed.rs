//! The records that a stage trains on: all drawn records, or those among them that are selected.

use std::{collections::VecDeque, ops::Range};

use greentune_ast_sparsity::{Accounting, Needs, Observation, Progress, Selected, SelectionError, Selector};
use greentune_core_config::{
    selection::SelectionSoFar,
    settings::{AstUnit, Stage2Settings, TrainingSettings},
};
use greentune_text_data::{DataError, Draw, Example, Sampler};
use serde::{Deserialize, Serialize};

use super::step::Weighted;
use crate::{error::TrainError, stage::selection::since};

/// A record to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Where it is from.
    pub draw: Draw,
    /// The record. Where tokens are selected, its labels are the selected ones only.
    pub example: Example,
    /// Factor of its loss, or one for each labelled token; 1 where nothing is selected.
    pub weights: Vec<f32>,
    /// Ids that the selector knows it by: one for a record, or one for each labelled token. Empty for a record that was
    /// not a candidate.
    samples: Vec<usize>,
}

impl Chosen {
    /// As a step takes it.
    pub fn weighted(&self) -> Weighted<'_> {
        Weighted { example: &self.example, weights: &self.weights }
    }
}

/// Reads drawn records.
pub type Read<'a> = &'a dyn Fn(Draw) -> Result<Example, DataError>;
/// What the model says of each labelled token of records in turn, asked where selection needs it.
pub type Score<'a> = &'a dyn Fn(&[Example]) -> Vec<Observation>;

/// The state of selection between two steps. Together with the selector's own state, training resumes from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// Draws of the stage's own records on which selection has decided.
    pub candidates: u64,
    /// Records that are selected and not trained on yet: copy ([`Draw::copy`]) and weight.
    pub waiting: VecDeque<(usize, f32)>,
}

/// Supplies the records to train on, in order.
pub struct Feed {
    sampler: Sampler,
    selection: Option<Selection>,
}

impl Feed {
    /// A feed of every draw of `sampler`, without end.
    pub fn dense(sampler: Sampler) -> Self {
        Self { sampler, selection: None }
    }

    /// A feed of the draws that `selector` takes, after `warm_up` whole passes. The candidates are the draws that
    /// `settings` would train on without selection. It resumes from `offered` and selects among `units`.
    pub fn sparse(
        mut sampler: Sampler,
        units: Units,
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
        let selection =
            Selection { units, selector, offered, total, per_step, chunk, warm_up, passes, pass, range };
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
            batch.extend(match self.selection.as_mut().filter(|_| !draw.replay) {
                Some(selection) => selection.chosen(draw, weight, example, score)?,
                None => Some(Chosen { draw, example, weights: vec![weight], samples: Vec::new() }),
            });
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

    /// Whether something is left to train on. Lets the selector decide on further candidates until there is, or until
    /// none are left.
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

    /// Passes to the selector what training observed for each labelled token of `trained` in turn.
    pub fn observe(&mut self, trained: &[&Chosen], tokens: &[Observation]) -> Result<(), SelectionError> {
        let Some(selection) = &mut self.selection else { return Ok(()) };
        let (mut samples, mut observations) = (Vec::new(), Vec::new());
        let examples = trained.iter().map(|chosen| &chosen.example);
        for (chosen, own) in trained.iter().zip(by_example(examples, tokens)) {
            match chosen.samples.as_slice() {
                [] => {}
                [sample] => {
                    samples.push(*sample);
                    observations.push(mean(own));
                }
                each => {
                    samples.extend(each);
                    observations.extend(own);
                }
            }
        }
        selection.selector.observe(&samples, &observations)
    }

    /// The selection, where records or tokens are selected.
    pub fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }
}

/// What is selected.
pub enum Units {
    /// Copies of records in a pass ([`Draw::copy`]), so that records that are drawn more often are candidates more often.
    Records,
    /// Labelled tokens of such copies: the first one of each copy, and their number.
    Tokens(Vec<usize>),
}

impl Units {
    /// Those of the stage's own records, which have so many labelled tokens.
    pub fn new(unit: AstUnit, sampler: &Sampler, labelled: &[usize]) -> Self {
        if unit == AstUnit::Sample {
            return Self::Records;
        }
        let mut first = vec![0];
        for copy in 0..sampler.copies() {
            first.push(first[copy] + labelled[sampler.own_copy(copy).index]);
        }
        Self::Tokens(first)
    }

    /// How many there are.
    pub fn count(&self, sampler: &Sampler) -> usize {
        match self {
            Self::Records => sampler.copies(),
            Self::Tokens(first) => first.last().copied().unwrap_or_default(),
        }
    }
}

/// Selection among draws.
///
/// The candidates are the stage's own records, or their labelled tokens, in the order in which dense training draws
/// them. Replayed records are no candidates: they keep their share of what is trained on.
pub struct Selection {
    units: Units,
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
    /// The selector.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// The state of selection.
    pub fn offered(&self) -> &Offered {
        &self.offered
    }

    /// What was selected so far: of records with the warm-up, of tokens without it.
    pub fn so_far(&self) -> SelectionSoFar {
        let mut so_far = since(Accounting::default(), self.selector.accounting());
        if self.selects_tokens() {
            return SelectionSoFar { unit: AstUnit::Token, ..so_far };
        }
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
        // Few records have no token that is selected.
        let rate = if self.selects_tokens() { 1.0 } else { rate };
        let selected = (self.total - self.offered.candidates) as f64 * rate;
        ((selected + self.offered.waiting.len() as f64) / self.per_step).ceil() as u64
    }

    /// Lets the selector decide on the next chunk of candidates.
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
        if self.pass < self.warm_up || self.selects_tokens() {
            self.offered.waiting.extend(copies.into_iter().map(|copy| (copy, 1.0)));
        } else {
            let mut fresh = Vec::new();
            if self.selector.needs() == Needs::Fresh {
                let examples = draws.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
                fresh.extend(by_example(&examples, &score(&examples)).map(mean));
            }
            let mut selected: Vec<Selected> = Vec::new();
            self.selector.select(&copies, &fresh, &mut selected)?;
            self.offered.waiting.extend(selected.into_iter().map(|sample| (sample.id, sample.weight)));
        }
        self.offered.candidates = end;
        Ok(())
    }

    fn selects_tokens(&self) -> bool {
        matches!(self.units, Units::Tokens(_))
    }

    /// The part of a selected record that is trained on; `None` where none of its tokens is selected.
    fn chosen(
        &mut self,
        draw: Draw,
        weight: f32,
        mut example: Example,
        score: Score,
    ) -> Result<Option<Chosen>, SelectionError> {
        let Units::Tokens(first) = &self.units else {
            return Ok(Some(Chosen { draw, example, weights: vec![weight], samples: vec![draw.copy] }));
        };
        let first = first[draw.copy];
        let tokens: Vec<usize> = (first..first + example.labelled_tokens()).collect();
        if self.pass < self.warm_up {
            return Ok(Some(Chosen { draw, example, weights: vec![weight], samples: tokens }));
        }
        let is_scored = self.selector.needs() == Needs::Fresh;
        let fresh = if is_scored { score(std::slice::from_ref(&example)) } else { Vec::new() };
        let mut selected = Vec::new();
        self.selector.select(&tokens, &fresh, &mut selected)?;
        if selected.is_empty() {
            return Ok(None);
        }
        let labelled: Vec<usize> = example.labelled_positions().collect();
        let positions: Vec<usize> = selected.iter().map(|token| labelled[token.id - first]).collect();
        example.relabel(&positions);
        let (samples, weights) = selected.into_iter().map(|token| (token.id, token.weight)).unzip();
        Ok(Some(Chosen { draw, example, weights, samples }))
    }
}

/// What was observed of the labelled tokens of each of `examples`, of that of all in turn.
fn by_example<'a, 'o>(
    examples: impl IntoIterator<Item = &'a Example>,
    mut tokens: &'o [Observation],
) -> impl Iterator<Item = &'o [Observation]> {
    examples.into_iter().map(move |example| {
        let (own, others) = tokens.split_at(example.labelled_tokens().min(tokens.len()));
        tokens = others;
        own
    })
}

/// Of a record, from what was observed of its labelled tokens.
fn mean(tokens: &[Observation]) -> Observation {
    let count = tokens.len().max(1) as f64;
    let of = |value: fn(&Observation) -> f32| {
        (tokens.iter().map(|token| f64::from(value(token))).sum::<f64>() / count) as f32
    };
    Observation { loss: of(|token| token.loss), entropy: of(|token| token.entropy) }
}

fn whole(draw: Draw) -> (Draw, f32) {
    (draw, 1.0)
}

#[cfg(test)]
mod tests {
    use greentune_core_config::settings::{AstPolicy, Settings};
    use greentune_text_data::Replay;

    use super::*;
    use crate::stage::selection::selector;

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

    /// A stage of 600 draws, 4 a step.
    struct Stage {
        settings: Settings,
        weights: Vec<f64>,
        ratio: f64,
        warm_up: u64,
        unit: AstUnit,
    }

    impl Stage {
        fn new(policy: AstPolicy) -> Self {
            let mut settings = Settings::default();
            (settings.ast.enabled, settings.ast.policy) = (true, policy);
            Self { settings, weights: vec![1.0; 100], ratio: 0.0, warm_up: 0, unit: AstUnit::Sample }
        }

        fn sampler(&self) -> Sampler {
            let replay = Replay { weights: vec![1.0; 20], ratio: self.ratio };
            Sampler::new(5, &self.weights, Some(replay)).unwrap()
        }

        fn units(&self) -> Units {
            Units::new(self.unit, &self.sampler(), &vec![LABELS; self.weights.len()])
        }

        fn selector(&self) -> Selector {
            selector(&self.settings, self.units().count(&self.sampler())).unwrap()
        }

        fn feed(&self, sampler: Sampler, selector: Selector, offered: Offered) -> Feed {
            let stage = Stage2Settings {
                iterations: 150,
                batch_size: 4,
                gradient_accumulation: 1,
                ..Stage2Settings::default()
            };
            Feed::sparse(sampler, self.units(), selector, offered, &stage, self.warm_up)
        }

        fn begin(&self) -> Feed {
            self.feed(self.sampler(), self.selector(), Offered::default())
        }
    }

    /// Labelled tokens of a record.
    const LABELS: usize = 3;

    /// The next batch, trained on: records of high index have high losses, and of their tokens the last.
    fn batch(feed: &mut Feed) -> Vec<Chosen> {
        let read = |draw: Draw| Ok(Example { line: draw.index as u64, ..examples(&[LABELS + 1]).remove(0) });
        let observed = |example: &Example| {
            let loss = 0.1 + example.line as f32;
            let of_token = move |position: usize| Observation { loss: loss + position as f32, entropy: 1.0 };
            example.labelled_positions().map(of_token).collect::<Vec<_>>()
        };
        let score = |examples: &[Example]| examples.iter().flat_map(observed).collect();
        let batch = feed.micro_batch(&TrainingSettings::default(), 4, &read, &score).unwrap();
        let trained: Vec<&Chosen> = batch.iter().collect();
        let tokens: Vec<_> = batch.iter().flat_map(|chosen| observed(&chosen.example)).collect();
        feed.observe(&trained, &tokens).unwrap();
        batch
    }

    fn train(feed: &mut Feed) -> Vec<(Draw, f32)> {
        batch(feed).iter().map(|chosen| (chosen.draw, chosen.weights[0])).collect()
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
    fn tokens_are_selected_within_all_records() {
        for policy in [AstPolicy::Ast, AstPolicy::Quantile] {
            let stage = Stage { unit: AstUnit::Token, ratio: 0.25, warm_up: 1, ..Stage::new(policy) };
            let mut feed = stage.begin();
            let batches: Vec<_> =
                std::iter::repeat_with(|| batch(&mut feed)).take_while(|b| !b.is_empty()).collect();
            let so_far = feed.selection().unwrap().so_far();
            // 450 of the stage's own draws, 100 of them in the warm-up.
            assert_eq!((so_far.unit, so_far.candidates), (AstUnit::Token, 350 * LABELS as u64));
            assert!((so_far.activation_rate() - 0.4).abs() < 0.02, "{policy}: {so_far:?}");
            let mut selected = 0;
            for chosen in batches.iter().flatten() {
                let labels = chosen.example.labelled_tokens();
                assert_eq!(chosen.example.tokens.len(), chosen.example.labels.last().unwrap().end);
                assert!(chosen.weights.len() == labels || chosen.weights == [1.0]);
                selected += if chosen.draw.replay { 0 } else { labels as u64 };
            }
            assert_eq!(selected, so_far.selected + 100 * LABELS as u64);
        }
    }

    #[test]
    fn a_stage_that_is_taken_up_anywhere_trains_on_the_same() {
        let policies = [AstPolicy::Ast, AstPolicy::Infobatch, AstPolicy::Quantile, AstPolicy::Sundew];
        for (policy, unit) in policies.into_iter().flat_map(|p| [(p, AstUnit::Sample), (p, AstUnit::Token)]) {
            let stage = Stage { ratio: 0.2, warm_up: 1, unit, ..Stage::new(policy) };
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
