//! Whether an export answers as the trained model does, asked before it gets its name.

use std::path::PathBuf;

use greentune_core_config::{
    Diagnostic as _, Problem, ProblemKind,
    agreement::{Agreement, AgreementFindings, AgreementTask},
    generation::{GeneratingModel, ModelVariant},
    quantities::number,
    settings::Quantization as BaseQuantization,
    task::{WorkerAnswer, WorkerTask},
};
use greentune_export::{ExportFormat, Quantization};

use super::{ExportModel, Unpublished, is_classifier};
use crate::{Result, Workbench, WorkbenchError, engine::wrong_answer};

/// What both models are asked before an export gets its name.
const PROMPTS: [&str; 3] = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Add 2 and 3. Answer with the number.",
];
/// Tokens that both write behind each prompt, at most.
const WRITTEN: u64 = 24;
/// Divergence, in nats, beyond which an export that keeps its weights in 16 bits or more is another model. A judgement: the
/// demo's model, merged in bfloat16, diverges by 2.0e-7.
const ANOTHER_MODEL: f64 = 0.1;

/// The same for one that packs its weights, whose divergence says how much was lost: a worker answers so where logits are no
/// numbers.
const NO_MODEL: f64 = 1e300;

/// Whether an export answers as the trained model does.
pub(super) enum Comparison {
    Compared(Agreement),
    /// Why nobody knows.
    NotCompared(String),
}

impl Comparison {
    /// What the person who asked should know of it.
    pub(super) fn warnings(&self) -> Vec<String> {
        match self {
            Self::Compared(agreement) if agreement.runs_on > 0 => vec![format!(
                "rounding its weights changed where it stops: behind {} of {} texts that the trained model ends, it goes on",
                agreement.runs_on, agreement.ended
            )],
            _ => Vec::new(),
        }
    }
}

impl Workbench {
    /// Has a worker read fixed prompts with the trained model and with its export. Where the machine or the trained model
    /// forbids it, the export is none the worse.
    ///
    /// Errors: the export cannot be read, reads other tokens, does not stop, or is another model.
    pub(super) async fn compare(
        &self,
        request: &ExportModel,
        unpublished: &Unpublished,
    ) -> Result<Comparison> {
        if request.compare == Some(false) {
            return Ok(Comparison::NotCompared(String::from("it was not asked for")));
        }
        if is_classifier(&unpublished.run) {
            let why = "an image classifier has the weights that the run left, byte for byte";
            return Ok(Comparison::NotCompared(String::from(why)));
        }
        let Some(task) = agreement_task(request, unpublished) else {
            let why = "the disk has no room for a copy of the weights in F32";
            return Ok(Comparison::NotCompared(String::from(why)));
        };
        let answer = match self.ask_worker(&WorkerTask::Agree(Box::new(task))).await {
            Ok(answer) => answer,
            // What is wrong with the export itself is a finding.
            Err(error) => return Ok(Comparison::NotCompared(without_answer(&error))),
        };
        let WorkerAnswer::Agreed(findings) = answer else { return Err(wrong_answer("agree")) };
        match findings {
            AgreementFindings::Compared(agreement) => {
                check_agreement(&agreement, is_packed(request.quantization))?;
                Ok(Comparison::Compared(agreement))
            }
            AgreementFindings::TooLarge { needed_bytes, free_bytes } => {
                let gigabytes = |bytes: u64| number(bytes as f64 / 1e9);
                Ok(Comparison::NotCompared(format!(
                    "it takes about {} GB of memory, and {} GB are free",
                    gigabytes(needed_bytes),
                    gigabytes(free_bytes)
                )))
            }
            AgreementFindings::NotComparable { why } => Ok(Comparison::NotCompared(why)),
            AgreementFindings::Unreadable { problem } => Err(unreadable(&problem)),
        }
    }
}

/// Why a worker gave no answer.
fn without_answer(error: &WorkbenchError) -> String {
    match error {
        // The end of its log is no part of a sentence.
        WorkbenchError::WorkerDied { status, .. } => {
            let killed = if status.starts_with("signal: 9 ") { ", as for lack of memory" } else { "" };
            format!("the worker that was to read both models ended ({status}){killed}")
        }
        error => format!("the worker that was to read both models failed: {}", error.problem().message),
    }
}

/// What a worker is to compare; nothing where the copy that it would read could not be made.
fn agreement_task(request: &ExportModel, unpublished: &Unpublished) -> Option<AgreementTask> {
    let Unpublished { run, export } = unpublished;
    let staged = export.folder().to_owned();
    let merge = request.merge_adapters.unwrap_or(false);
    let mut settings = run.manifest.settings.clone();
    // Merged weights are made of the base as it is, not as it was packed for training.
    settings.base_model.quantization = BaseQuantization::None;
    let model = |folder: PathBuf, adapters: Option<PathBuf>| GeneratingModel {
        folder,
        settings: settings.clone(),
        at: run.manifest.created_at,
        variants: vec![ModelVariant { name: String::from("model"), adapters }],
    };
    let base = || run.manifest.base_model_path.clone();
    let exported = match (request.export_format, merge) {
        (ExportFormat::Huggingface | ExportFormat::Safetensors, true) => model(staged, None),
        (ExportFormat::Huggingface | ExportFormat::Safetensors, false) => model(base(), Some(staged)),
        (ExportFormat::Mlx, true) if !is_packed(request.quantization) => model(staged, None),
        (ExportFormat::Gguf | ExportFormat::Mlx, true) => model(export.readable_copy()?.to_owned(), None),
        (ExportFormat::Gguf | ExportFormat::Mlx, false) => {
            model(base(), Some(export.readable_copy()?.to_owned()))
        }
    };
    Some(AgreementTask {
        trained: model(base(), Some(run.layout.adapters(request.stage))),
        exported,
        prompts: PROMPTS.map(String::from).to_vec(),
        max_tokens: WRITTEN,
    })
}

/// Whether greentune reads the export in a copy alone.
pub(super) fn needs_copy(request: &ExportModel) -> bool {
    match request.export_format {
        ExportFormat::Gguf => true,
        ExportFormat::Mlx => is_packed(request.quantization) || request.merge_adapters != Some(true),
        ExportFormat::Huggingface | ExportFormat::Safetensors => false,
    }
}

fn is_packed(quantization: Option<Quantization>) -> bool {
    quantization.is_some_and(|asked| !asked.is_float())
}

/// Errors: the export reads other tokens than the trained model, is another model, or does not stop where that does.
fn check_agreement(agreement: &Agreement, is_packed: bool) -> Result<()> {
    let Agreement { prompts, same_prompts, kl_nats, runs_on, .. } = *agreement;
    // Two logits may have moved towards each other, each by as much.
    let by_rounding = agreement.stop_lead <= 2.0 * agreement.largest_difference;
    let why = if same_prompts < prompts {
        format!("it reads {} of {prompts} prompts as other tokens", prompts - same_prompts)
    } else if kl_nats > if is_packed { NO_MODEL } else { ANOTHER_MODEL } {
        format!("its next-token distributions are {} nats from the trained model's", number(kl_nats))
    } else if runs_on > 0 && !is_packed && !by_rounding {
        format!("it does not stop behind {runs_on} of {} texts that the trained model ends", agreement.ended)
    } else {
        return Ok(());
    };
    let message = format!("the export does not answer as the trained model does: {why}");
    Err(defect("export.another_model", message))
}

/// The error for an export that greentune itself cannot read.
fn unreadable(problem: &Problem) -> WorkbenchError {
    let message = format!("what was exported cannot be read: {}", problem.message);
    defect("export.unreadable", message)
}

fn defect(code: &str, message: String) -> WorkbenchError {
    let hint =
        "nothing was written; this is a defect of greentune: please report it with the base model's id";
    Problem::new(ProblemKind::Internal, code, message).with_hint(hint).into()
}
