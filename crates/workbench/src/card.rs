//! Model cards: what was trained, on what, how well, at what cost, and how to do it again.
//!
//! One path for both kinds of run and for exports: figures of the run ([`figures`]) and of a baseline
//! ([`comparison`]), badges by rules ([`badges`]), the Hub's metadata ([`metadata`]), and the text of the sections
//! ([`body`]), laid out by the templates of `scaffold`. A figure that the run did not leave is left out.

mod badges;
mod body;
mod comparison;
mod figures;
mod loading;
mod metadata;
mod quantities;
mod references;
mod results;
mod sustainability;

use greentune_core_config::{
    manifest::{RunManifest, RunStatus, StageRecord},
    settings::{AstPolicy, Task},
};
use greentune_scaffold::{CardTemplate, render_card};

pub use self::badges::Badge;
pub(crate) use self::comparison::{Comparison, compare};
use crate::{Result, WorkbenchError, run::Run, run_energy::RunEnergy};

/// Which weights a card lies beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Those in the run's folder.
    OfRun,
    /// Exported adapters.
    Adapters,
    /// An exported model with the adapters merged in.
    Merged,
}

/// A card that was written.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    /// Markdown, with the Hub's metadata in front.
    pub markdown: String,
    /// Badges that the run has earned.
    pub badges: Vec<Badge>,
}

/// The card of `stage` of `run`.
pub(crate) fn model_card(
    run: &Run,
    stage: u8,
    weights: Weights,
    template: CardTemplate,
    comparison: Option<&Comparison>,
) -> Result<Card> {
    let subject = Subject::new(run, stage, weights, comparison)?;
    let badges = badges::earned(&subject);
    let metadata = metadata::metadata(&subject, &badges);
    let body = body::body(&subject, template, &badges)?;
    let markdown = render_card(template, &metadata, &body).map_err(WorkbenchError::reported)?;
    Ok(Card { markdown, badges })
}

/// What a card is about: everything that its parts read.
struct Subject<'a> {
    run: &'a Run,
    /// The stage whose weights they are.
    stage: &'a StageRecord,
    /// The trained stages up to it, in order.
    trained: Vec<&'a StageRecord>,
    weights: Weights,
    energy: RunEnergy,
    comparison: Option<&'a Comparison>,
}

impl<'a> Subject<'a> {
    fn new(run: &'a Run, stage: u8, weights: Weights, comparison: Option<&'a Comparison>) -> Result<Self> {
        let record = run.trained_stage(stage)?;
        let trained = trained_up_to(&run.manifest, stage);
        let energy = RunEnergy::read(&run.layout, &trained)?;
        Ok(Self { run, stage: record, trained, weights, energy, comparison })
    }

    fn manifest(&self) -> &'a RunManifest {
        &self.run.manifest
    }

    fn is_classifier(&self) -> bool {
        self.manifest().settings.task() == Task::ImageClassification
    }

    /// Whether samples were selected by what the model knew of them; a random subset is not adaptive.
    fn is_adaptive(&self) -> bool {
        let ast = &self.manifest().settings.ast;
        let adaptive = !matches!(ast.policy, AstPolicy::Full | AstPolicy::Random);
        ast.enabled && adaptive && self.trained.iter().any(|stage| stage.selection.is_some())
    }
}

/// The stages that were trained, up to `stage`.
fn trained_up_to(manifest: &RunManifest, stage: u8) -> Vec<&StageRecord> {
    let is_trained = |record: &&StageRecord| record.stage <= stage && record.status == RunStatus::Completed;
    manifest.stages.iter().filter(is_trained).collect()
}
