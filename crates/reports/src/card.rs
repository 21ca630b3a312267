//! Model cards: what was trained, on what, how well, at what cost, and how to do it again.
//!
//! One path for both kinds of run and for exports: figures of the run ([`figures`]) and of a baseline
//! ([`comparison`]), badges by rules ([`badges`]), the Hub's metadata ([`metadata`]), and the text of the sections
//! ([`body`]), laid out by the templates of `scaffold`. A figure that the run did not leave is left out.

mod badges;
mod body;
mod comparison;
mod figures;
mod inputs;
mod loading;
mod metadata;
mod references;
mod results;
mod row;
mod sustainability;

use greentune_core_config::{
    Suggestion,
    manifest::{RunManifest, RunStatus, StageRecord},
    settings::{AstPolicy, Task},
};
use greentune_run_folder::Run;
use greentune_scaffold::{CardTemplate, render_card};

pub use self::badges::Badge;
pub use self::comparison::{BaselineFigures, Comparison, Saving, compare};
use crate::{Result, run_energy::RunEnergy};

/// The weights that a card describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those in the run's folder.
    OfRun,
    /// Exported adapters.
    Adapters,
    /// An exported model with the adapters merged in.
    Merged,
}

/// A rendered card.
#[derive(Clone, Debug)]
pub struct Card {
    /// Markdown, with the Hub's metadata in front.
    pub markdown: String,
    /// Badges that the run has earned.
    pub badges: Vec<Badge>,
}

/// A card to write.
#[derive(Clone, Copy, Debug)]
pub struct CardRequest<'a> {
    /// The run, completed or not.
    pub run: &'a Run,
    /// The stage whose weights they are; it must be trained.
    pub stage: u8,
    /// Which weights the card lies beside.
    pub weights: Weights,
    /// Which card.
    pub template: CardTemplate,
    /// The run beside a baseline; without one no saving is stated.
    pub comparison: Option<&'a Comparison>,
    /// How a suggestion is typed into a shell, for the commands that train the model again.
    pub command: fn(&Suggestion) -> String,
}

/// Writes the card that `request` asks for.
///
/// Errors: the run has no such trained stage; a damaged file of emissions.
pub fn model_card(request: &CardRequest) -> Result<Card> {
    let template = request.template;
    let subject = Subject::new(request)?;
    let badges = badges::earned(&subject);
    let metadata = metadata::metadata(&subject, &badges);
    let body = body::body(&subject, template, &badges)?;
    let markdown = render_card(template, &metadata, &body)?;
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
    command: fn(&Suggestion) -> String,
}

impl<'a> Subject<'a> {
    fn new(request: &CardRequest<'a>) -> Result<Self> {
        let CardRequest { run, stage, weights, comparison, command, .. } = *request;
        let record = run.trained_stage(stage)?;
        let trained = trained_up_to(&run.manifest, stage);
        let energy = RunEnergy::read(&run.layout, &trained)?;
        Ok(Self { run, stage: record, trained, weights, energy, comparison, command })
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
