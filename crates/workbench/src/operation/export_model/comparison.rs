//! Whether an export answers as the trained model does, asked before it gets its name.

use std::path::PathBuf;

use greentune_core_config::{
    Problem, ProblemKind,
    agreement::{Agreement, AgreementFindings, AgreementTask},
    generation::{GeneratingModel, ModelVariant},
    quantities::number,
    settings::Quantization as BaseQuantization,
    task::{WorkerAnswer, WorkerTask},
};
use greentune_export::{ExportFormat, Quantization};

use super::{ExportModel, Unpublished, is_classifier};
use crate::{Result, Workbench, engine::wrong_answer};

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

impl Workbench {
    /// Has a worker read fixed prompts with the trained model and with its export.
    ///
    /// Errors: the export reads other tokens, or is another model; the worker's.
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
            let format = request.export_format;
            let why = if request.merge_adapters == Some(true) {
                String::from("the disk has no room for a copy of the weights in F32")
            } else {
                format!("greentune does not load adapters of the format {format}")
            };
            return Ok(Comparison::NotCompared(why));
        };
        match self.ask_worker(&WorkerTask::Agree(Box::new(task))).await? {
            WorkerAnswer::Agreed(AgreementFindings::Compared(agreement)) => {
                check_agreement(&agreement, is_packed(request.quantization))?;
                Ok(Comparison::Compared(agreement))
            }
            WorkerAnswer::Agreed(AgreementFindings::TooLarge { needed_bytes, free_bytes }) => {
                let gigabytes = |bytes: u64| number(bytes as f64 / 1e9);
                Ok(Comparison::NotCompared(format!(
                    "it takes about {} GB of memory, and {} GB are free",
                    gigabytes(needed_bytes),
                    gigabytes(free_bytes)
                )))
            }
            _ => Err(wrong_answer("agree")),
        }
    }
}

/// What a worker is to compare; nothing for a format that the engine does not load.
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
        (ExportFormat::Gguf | ExportFormat::Mlx, _) => model(export.readable_copy()?.to_owned(), None),
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
        ExportFormat::Mlx => is_packed(request.quantization),
        ExportFormat::Huggingface | ExportFormat::Safetensors => false,
    }
}

fn is_packed(quantization: Option<Quantization>) -> bool {
    quantization.is_some_and(|asked| !asked.is_float())
}

/// Errors: the export reads other tokens than the trained model, or is another model.
fn check_agreement(agreement: &Agreement, is_packed: bool) -> Result<()> {
    let Agreement { prompts, same_prompts, kl_nats, .. } = *agreement;
    let why = if same_prompts < prompts {
        format!("it reads {} of {prompts} prompts as other tokens", prompts - same_prompts)
    } else if kl_nats > if is_packed { NO_MODEL } else { ANOTHER_MODEL } {
        format!("its next-token distributions are {} nats from the trained model's", number(kl_nats))
    } else {
        return Ok(());
    };
    let message = format!("the export does not answer as the trained model does: {why}");
    Err(Problem::new(ProblemKind::Internal, "export.another_model", message)
        .with_hint(
            "nothing was written; this is a defect of greentune: please report it with the base model's id",
        )
        .into())
}
