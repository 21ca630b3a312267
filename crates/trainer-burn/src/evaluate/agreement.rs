//! Whether an exported model answers as the trained one does, on the same prompts.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{
    agreement::{Agreement, AgreementFindings, AgreementTask},
    generation::{GeneratingModel, GenerationEnd},
    memory::{MemoryInputs, ModelShape, estimate},
};
use greentune_text_data::Prompt;

use super::generate::{Opened, continuation};
use crate::{
    error::TrainError,
    model::{Batch, config},
    ops::Ops,
    training::plan,
};

/// Positions of a prompt whose logits are compared, at most: the last ones. Two models' logits are held at once.
const POSITIONS: usize = 32;

/// Has both models of `task` read its prompts, one model after the other, so that one at a time is in memory.
pub(crate) fn of_task<A>(
    task: &AgreementTask,
    device: &A::Device,
    on_cpu: bool,
) -> Result<AgreementFindings, TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    if let Some(too_large) = too_large(&task.trained, on_cpu) {
        return Ok(too_large);
    }
    let trained = read::<A>(&task.trained, task, device)?;
    let exported = read::<A>(&task.exported, task, device)?;
    Ok(AgreementFindings::Compared(compare(&trained, &exported)))
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
}

fn read<A>(
    model: &GeneratingModel,
    task: &AgreementTask,
    device: &A::Device,
) -> Result<Vec<Reading>, TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let opened = Opened::<A>::open(model, device)?;
    let adapters = opened.variants.first().and_then(|(_, adapters)| adapters.as_ref());
    let limit = usize::try_from(task.max_tokens).unwrap_or(usize::MAX);
    let of_prompt = |text: &String| {
        let prompt = opened.encoder.prompt(None, text, false)?;
        let batch = Batch::of([prompt.tokens.as_slice()]);
        let hidden = opened.decoder.forward(&batch, adapters);
        let count = prompt.tokens.len().min(POSITIONS);
        let logits = opened.decoder.logits(hidden.narrow(0, prompt.tokens.len() - count, count));
        let vocabulary = logits.dims()[1];
        let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
        let stop_ids = opened.encoder.tokenizer().stop_ids();
        let never = |_: &[u32]| Ok::<_, TrainError>(());
        let written = continuation(&opened.decoder, adapters, &prompt.tokens, stop_ids, limit, never)?;
        Ok(Reading {
            logits: values.chunks(vocabulary).map(<[f32]>::to_vec).collect(),
            written: written.tokens,
            ended_by: written.ended_by,
            prompt,
        })
    };
    task.prompts.iter().map(of_prompt).collect()
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
    use super::*;

    fn reading(tokens: &[u32], logits: &[&[f32]], written: &[u32]) -> Reading {
        Reading {
            prompt: Prompt { text: String::from("text"), tokens: tokens.to_vec() },
            logits: logits.iter().map(|row| row.to_vec()).collect(),
            written: written.to_vec(),
            ended_by: GenerationEnd::StopToken,
        }
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
