//! Whether an exported model answers as the trained one does, on the same prompts.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{
    Diagnostic as _, Problem, ProblemKind,
    agreement::{Agreement, AgreementFindings, AgreementTask},
    generation::{GeneratingModel, GenerationEnd},
    memory::{MemoryInputs, ModelShape, estimate},
};
use greentune_text_data::{DataError, Prompt};

use super::generate::{Continuation, Opened, continuation};
use crate::{
    error::TrainError,
    model::{Batch, config},
    ops::Ops,
    training::plan,
};

/// Positions of a prompt whose logits are compared, at most: the last ones. Two models' logits are held at once.
const POSITIONS: usize = 32;

/// Has both models of `task` read its prompts, one model after the other, so that one at a time is in memory. Prompts that
/// leave no room in the trained model's context are left out.
pub(crate) fn of_task<A>(task: &AgreementTask, device: &A::Device, on_cpu: bool) -> AgreementFindings
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    if let Some(too_large) = too_large(&task.trained, on_cpu) {
        return too_large;
    }
    let limit = usize::try_from(task.max_tokens).unwrap_or(usize::MAX);
    let trained = match guarded(|| read_trained::<A>(task, limit, device)) {
        Ok(trained) => trained,
        Err(fault) => return AgreementFindings::NotComparable { why: fault.of_trained() },
    };
    let (prompts, trained): (Vec<&String>, Vec<Reading>) = trained.into_iter().unzip();
    match guarded(|| read_export::<A>(&task.exported, &prompts, limit, device)) {
        Ok(exported) => AgreementFindings::Compared(compare(&trained, &exported)),
        Err(fault) => fault.of_export(on_cpu),
    }
}

/// Why a model was not read.
enum Fault {
    Known(TrainError),
    /// What a panic said: a device that failed, or a defect.
    Panic(String),
}

impl Fault {
    /// Why the trained model cannot be asked.
    fn of_trained(&self) -> String {
        let why = match self {
            Self::Known(error) => &error.problem().message,
            Self::Panic(text) => text,
        };
        format!("the trained model cannot be asked: {why}")
    }

    /// What it says of the export, when the trained model was read before it.
    fn of_export(self, on_cpu: bool) -> AgreementFindings {
        let machine = |why: String| AgreementFindings::NotComparable {
            why: format!("the device failed while the export was read: {why}"),
        };
        match self {
            Self::Known(error) => match &error {
                TrainError::Device { .. } | TrainError::Packing { .. } | TrainError::Memory(_) => {
                    machine(error.to_string())
                }
                _ => AgreementFindings::Unreadable { problem: error.problem() },
            },
            // Other devices panic when they are lost or full. The processor is neither: it met what it cannot compute.
            Self::Panic(text) if on_cpu => AgreementFindings::Unreadable {
                problem: Problem::new(
                    ProblemKind::Internal,
                    "worker.panic",
                    format!("the trainer panicked: {text}"),
                ),
            },
            Self::Panic(text) => machine(text),
        }
    }
}

/// What `read` finds. A panic of it is a fault too.
fn guarded<T>(read: impl FnOnce() -> Result<T, TrainError>) -> Result<T, Fault> {
    // Nothing that `read` changed is used after a panic.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(Fault::Known),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Fault::Panic(text.unwrap_or("no text").to_owned()))
        }
    }
}

/// A model that does not fit into the memory that is free.
fn too_large(model: &GeneratingModel, on_cpu: bool) -> Option<AgreementFindings> {
    let free_bytes = plan::available(on_cpu).bytes?;
    let shape = ModelShape::from(&config::read(Path::new(&model.folder)).ok()?);
    let needed_bytes = estimate(&shape, &MemoryInputs::new(&model.settings)).peak_bytes();
    (needed_bytes > free_bytes).then_some(AgreementFindings::TooLarge { needed_bytes, free_bytes })
}

/// What a model makes of a prompt.
struct Reading {
    prompt: Prompt,
    /// Logits of the last positions, `[positions, vocabulary]`.
    logits: Vec<Vec<f32>>,
    written: Vec<u32>,
    ended_by: GenerationEnd,
    /// Where a stop token ended the text: how far its logit is above all other tokens'.
    stop_lead: f32,
}

/// The prompts that fit into the trained model's context, and what it makes of them.
///
/// Errors: none of them does; the model cannot be read.
fn read_trained<'a, A>(
    task: &'a AgreementTask,
    limit: usize,
    device: &A::Device,
) -> Result<Vec<(&'a String, Reading)>, TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let opened = Opened::<A>::open(&task.trained, device)?;
    let (mut read, mut too_long) = (Vec::new(), None);
    for text in &task.prompts {
        match opened.encoder.prompt(None, text, false) {
            Ok(prompt) => read.push((text, reading(&opened, prompt, limit)?)),
            Err(error @ DataError::PromptFillsContext { .. }) => too_long = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match too_long {
        Some(error) if read.is_empty() => Err(error.into()),
        _ => Ok(read),
    }
}

fn read_export<A>(
    model: &GeneratingModel,
    prompts: &[&String],
    limit: usize,
    device: &A::Device,
) -> Result<Vec<Reading>, TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let opened = Opened::<A>::open(model, device)?;
    prompts.iter().map(|text| reading(&opened, opened.encoder.prompt(None, text, false)?, limit)).collect()
}

fn reading<A>(opened: &Opened<A>, prompt: Prompt, limit: usize) -> Result<Reading, TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let adapters = opened.variants.first().and_then(|(_, adapters)| adapters.as_ref());
    let logits_of = |tokens: &[u32], count: usize| -> Vec<Vec<f32>> {
        let hidden = opened.decoder.forward(&Batch::of([tokens]), adapters);
        let logits = opened.decoder.logits(hidden.narrow(0, tokens.len() - count, count));
        let vocabulary = logits.dims()[1];
        let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
        values.chunks(vocabulary).map(<[f32]>::to_vec).collect()
    };
    let stop_ids = opened.encoder.tokenizer().stop_ids();
    let never = |_: &[u32]| Ok::<_, TrainError>(());
    let Continuation { tokens: written, ended_by } =
        continuation(&opened.decoder, adapters, &prompt.tokens, stop_ids, limit, never)?;
    let stop_lead = if ended_by == GenerationEnd::StopToken {
        let whole = [&prompt.tokens[..], &written].concat();
        logits_of(&whole, 1).first().map_or(0.0, |logits| lead(logits, stop_ids))
    } else {
        0.0
    };
    let logits = logits_of(&prompt.tokens, prompt.tokens.len().min(POSITIONS));
    Ok(Reading { prompt, logits, written, ended_by, stop_lead })
}

/// How far the likeliest of the tokens `ids` is above all others.
fn lead(logits: &[f32], ids: &[u32]) -> f32 {
    let highest = |among: bool| {
        let of_kind = (0u32..).zip(logits).filter(|(id, _)| ids.contains(id) == among);
        of_kind.fold(f32::NEG_INFINITY, |highest, (_, logit)| highest.max(*logit))
    };
    highest(true) - highest(false)
}

fn compare(trained: &[Reading], exported: &[Reading]) -> Agreement {
    let mut agreement = Agreement { prompts: trained.len() as u64, ..Agreement::default() };
    let (mut difference, mut values, mut divergence, mut same_choices) = (0.0, 0u64, 0.0, 0u64);
    for (trained, exported) in trained.iter().zip(exported) {
        let ends = |reading: &Reading| reading.ended_by == GenerationEnd::StopToken;
        agreement.ended += u64::from(ends(trained));
        agreement.ended_too += u64::from(ends(trained) && ends(exported));
        agreement.same_texts += u64::from(trained.written == exported.written);
        if trained.prompt != exported.prompt {
            continue;
        }
        agreement.same_prompts += 1;
        if ends(trained) && !ends(exported) && exported.written.starts_with(&trained.written) {
            agreement.runs_on += 1;
            agreement.stop_lead = agreement.stop_lead.max(f64::from(trained.stop_lead));
        }
        for (here, there) in trained.logits.iter().zip(&exported.logits) {
            for (here, there) in here.iter().zip(there) {
                let off = f64::from((here - there).abs());
                // `max` would pass over what is no number.
                let off = if off.is_nan() { f64::INFINITY } else { off };
                agreement.largest_difference = agreement.largest_difference.max(off);
                difference += off;
            }
            values += here.len().min(there.len()) as u64;
            divergence += kl(here, there);
            same_choices += u64::from(likeliest(here) == likeliest(there));
            agreement.positions += 1;
        }
    }
    agreement.largest_difference = finite(agreement.largest_difference);
    agreement.stop_lead = finite(agreement.stop_lead);
    agreement.mean_difference = finite(difference / values.max(1) as f64);
    agreement.kl_nats = finite(divergence / agreement.positions.max(1) as f64);
    agreement.top1_agreement = same_choices as f64 / agreement.positions.max(1) as f64;
    agreement
}

/// What is no number becomes the largest one: JSON has neither that nor infinity, and both mean that nothing agrees.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::MAX }
}

/// Kullback-Leibler divergence of the distribution of the logits `q` from that of `p`, in nats.
fn kl(p: &[f32], q: &[f32]) -> f64 {
    let (p_total, q_total) = (log_total(p), log_total(q));
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (log_p, log_q) = (f64::from(*p) - p_total, f64::from(*q) - q_total);
        if log_p == f64::NEG_INFINITY { 0.0 } else { log_p.exp() * (log_p - log_q) }
    });
    // Rounding may leave a sum just below zero.
    let sum: f64 = terms.sum();
    if sum < 0.0 { 0.0 } else { sum }
}

/// Logarithm of the sum of the exponentials.
fn log_total(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    f64::from(largest) + sum.ln()
}

fn likeliest(logits: &[f32]) -> Option<usize> {
    let highest = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (0..logits.len()).reduce(highest)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn::backend::{Autodiff, Flex, flex::FlexDevice};
    use greentune_core_config::{generation::ModelVariant, settings::Settings};

    use super::*;

    fn reading(tokens: &[u32], logits: &[&[f32]], written: &[u32]) -> Reading {
        Reading {
            prompt: Prompt { text: String::from("text"), tokens: tokens.to_vec() },
            logits: logits.iter().map(|row| row.to_vec()).collect(),
            written: written.to_vec(),
            ended_by: GenerationEnd::StopToken,
            stop_lead: 1.5,
        }
    }

    fn task(trained: &Path, exported: &Path) -> AgreementTask {
        let model = |folder: &Path| GeneratingModel {
            folder: folder.to_owned(),
            settings: Settings::default(),
            at: jiff::Timestamp::UNIX_EPOCH,
            variants: vec![ModelVariant { name: String::from("model"), adapters: None }],
        };
        AgreementTask {
            trained: model(trained),
            exported: model(exported),
            prompts: ["A", "Sleep was short and activity was low on all of these days"]
                .map(String::from)
                .into(),
            max_tokens: 4,
        }
    }

    fn findings(task: &AgreementTask) -> AgreementFindings {
        of_task::<Autodiff<Flex>>(task, &FlexDevice, true)
    }

    /// A copy of the bundled model with this context.
    fn model_with_context(context: u64) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/base-model");
        for entry in fs::read_dir(model).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let path = copy.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["max_position_embeddings"] = context.into();
        fs::write(path, config.to_string()).unwrap();
        copy
    }

    #[test]
    fn prompts_without_room_in_the_context_are_left_out() {
        let AgreementFindings::Compared(all) = ({
            let model = model_with_context(512);
            findings(&task(model.path(), model.path()))
        }) else {
            panic!("not compared")
        };
        assert_eq!((all.prompts, all.same_prompts), (2, 2));
        let some = model_with_context(25);
        let found = findings(&task(some.path(), some.path()));
        let AgreementFindings::Compared(found) = found else { panic!("{found:?}") };
        assert_eq!((found.prompts, found.same_prompts), (1, 1));
        let none = model_with_context(2);
        let found = findings(&task(none.path(), none.path()));
        let AgreementFindings::NotComparable { why } = found else { panic!("{found:?}") };
        assert!(why.contains("the prompt fills the context of 2 tokens"), "{why}");
    }

    #[test]
    fn what_cannot_be_read_is_the_trained_models_matter_or_the_exports() {
        let (model, nowhere) = (model_with_context(512), Path::new("/nowhere"));
        let found = findings(&task(nowhere, model.path()));
        let AgreementFindings::NotComparable { why } = found else { panic!("{found:?}") };
        assert!(why.starts_with("the trained model cannot be asked: "), "{why}");
        let found = findings(&task(model.path(), nowhere));
        let AgreementFindings::Unreadable { problem } = found else { panic!("{found:?}") };
        assert_eq!(problem.code, "model.not_found");
    }

    #[test]
    fn a_panic_is_the_devices_matter_unless_it_is_the_processor() {
        let fault = || guarded::<()>(|| panic!("the device is lost")).unwrap_err();
        assert!(fault().of_trained().contains("the device is lost"));
        let AgreementFindings::NotComparable { why } = fault().of_export(false) else { panic!() };
        assert!(why.contains("the device is lost"), "{why}");
        let AgreementFindings::Unreadable { problem } = fault().of_export(true) else { panic!() };
        assert_eq!(problem.code, "worker.panic");
    }

    #[test]
    fn an_export_that_goes_on_behind_the_trained_models_end_is_seen_to() {
        let ends = |written: &[u32]| reading(&[1], &[&[0.0, 1.0]], written);
        let goes_on = |written: &[u32]| Reading { ended_by: GenerationEnd::MaxTokens, ..ends(written) };
        let found = compare(&[ends(&[5, 6])], &[goes_on(&[5, 6, 7, 8])]);
        assert_eq!((found.ended, found.ended_too, found.runs_on, found.stop_lead), (1, 0, 1, 1.5));
        // An export that wrote other tokens before may end elsewhere.
        let found = compare(&[ends(&[5, 6])], &[goes_on(&[5, 7, 7, 8])]);
        assert_eq!((found.ended, found.ended_too, found.runs_on, found.stop_lead), (1, 0, 0, 0.0));
        assert_eq!(compare(&[ends(&[5])], &[ends(&[5])]).runs_on, 0);
        assert!((lead(&[1.0, 4.0, 2.5], &[1]) - 1.5).abs() < 1e-6);
    }

    #[test]
    fn the_divergence_is_that_of_the_two_distributions() {
        // p = (1/2, 1/2), q = (1/4, 3/4): Σ p ln(p/q) = ln(4/3) / 2.
        let q = [0.0, 3f32.ln()];
        assert!((kl(&[1.0, 1.0], &q) - (4f64 / 3.0).ln() / 2.0).abs() < 1e-6);
        assert!(kl(&[3.0, -1.0, 2.0], &[3.0, -1.0, 2.0]) < 1e-12);
        assert!(kl(&[f32::NEG_INFINITY, 0.0], &[f32::NEG_INFINITY, 0.0]) < 1e-12);
    }

    #[test]
    fn an_export_that_differs_is_seen_to() {
        let trained =
            [reading(&[1, 2], &[&[0.0, 1.0], &[2.0, 0.0]], &[5]), reading(&[3], &[&[0.0, 1.0]], &[6])];
        let same = compare(&trained, &trained);
        assert_eq!((same.prompts, same.same_prompts, same.positions, same.same_texts), (2, 2, 3, 2));
        assert_eq!((same.largest_difference, same.kl_nats, same.top1_agreement), (0.0, 0.0, 1.0));
        let other =
            [reading(&[1, 2], &[&[0.0, 1.0], &[0.0, 1.0]], &[5]), reading(&[4], &[&[9.0, 1.0]], &[7])];
        let other = compare(&trained, &other);
        assert_eq!((other.same_prompts, other.positions, other.same_texts), (1, 2, 1));
        assert_eq!((other.largest_difference, other.top1_agreement), (2.0, 0.5));
        let broken = compare(&trained[..1], &[reading(&[1, 2], &[&[f32::NAN, 1.0], &[2.0, 0.0]], &[5])]);
        assert!(broken.largest_difference > 1e300 && broken.kl_nats > 1e300, "{broken:?}");
    }
}
