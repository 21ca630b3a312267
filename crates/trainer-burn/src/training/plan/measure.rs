//! The pace and power of a few steps on the run's own data, whose results are thrown away.

use std::time::{Duration, Instant};

use burn::tensor::backend::AutodiffBackend;
use greentune_carbon::{Meter, MeterConfig, MeterEnvironment};
use greentune_core_config::{
    emissions::EmissionsProvenance, manifest::RunManifest, quantities, settings::Settings,
    task::PlanMeasurement,
};
use greentune_text_data::Example;

use super::work::{StageWork, tokens_of};
use crate::{
    error::TrainError,
    evaluate::{self, Wanted},
    model::{Adapters, Decoder, LoraSettings},
    ops::Ops,
    training::{
        optimizer::{Optimizer, OptimizerSettings, clip},
        step::{self, Activations, Trained, Weighted},
    },
};

/// Steps that are counted per stage, at least, as long as there is time.
const STEPS: usize = 3;
/// Time in which further steps are counted: one of a small model is over too soon to tell the pace.
const AT_LEAST: Duration = Duration::from_secs(2);
/// Time after which no further step of a stage is begun.
const AT_MOST: Duration = Duration::from_secs(8);
/// Tokens that are scored to time an evaluation, about.
const SCORED_TOKENS: u64 = 1024;
/// Tokens that are written to time generation, at most.
const WRITTEN_TOKENS: usize = 32;

/// Does a few steps of each stage, an evaluation and a generation, metered.
pub(super) fn measure<A>(
    manifest: &RunManifest,
    work: &[StageWork],
    decoder: &Decoder<A::InnerBackend>,
    device: &A::Device,
    loading_seconds: f64,
) -> Result<PlanMeasurement, TrainError>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let lora = LoraSettings::from(&manifest.settings.lora);
    let adapters = Adapters::fresh(decoder, lora, manifest.settings.training.seed, device);
    let meter = start_meter(manifest);
    let mut step_tokens_per_second = Vec::new();
    for stage in work {
        step_tokens_per_second.push((stage.plan.stage, paces::<A>(manifest, stage, decoder, &adapters)?));
    }
    let (evaluation_tokens_per_second, generation_tokens_per_second) =
        evaluation_pace(&manifest.settings, &work[0], decoder, &adapters)?;
    let power = meter.map(|meter| {
        let basis = meter.so_far().basis;
        let (record, provenance) = meter.finish();
        (record.energy_consumed * 3.6e6 / record.duration, basis, factors(&provenance))
    });
    let (power_w, power_basis, power_factors) = match power {
        Some((watts, basis, factors)) => (Some(watts), basis.to_string(), Some(factors)),
        None => (None, String::new(), None),
    };
    Ok(PlanMeasurement {
        loading_seconds,
        step_tokens_per_second,
        evaluation_tokens_per_second,
        generation_tokens_per_second,
        power_w,
        power_basis,
        power_uncertainty: power_factors.map_or(0.0, |[low, high]| (1.0 - low).max(high - 1.0)),
        power_factors,
    })
}

/// Tokens per second of a few optimizer steps. The first one, in which caches and memory are cold, counts only when
/// there is no time for another.
fn paces<A>(
    manifest: &RunManifest,
    stage: &StageWork,
    decoder: &Decoder<A::InnerBackend>,
    adapters: &Adapters<A::InnerBackend>,
) -> Result<Vec<f64>, TrainError>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let training = &manifest.settings.training;
    let activations = Activations::of(training);
    let mut micro_batches = stage.micro_batches()?;
    let begin = Instant::now();
    let mut paces = Vec::new();
    let is_enough = |steps: usize| match begin.elapsed() {
        _ if steps == 0 => false,
        elapsed if steps <= STEPS => elapsed >= AT_MOST,
        elapsed => elapsed >= AT_LEAST,
    };
    while !is_enough(paces.len()) {
        let drawn: Vec<_> = micro_batches.by_ref().take(stage.accumulation()).collect::<Result<_, _>>()?;
        let examples: Vec<Vec<_>> = drawn.iter().map(Weighted::whole).collect();
        let step_begin = Instant::now();
        let trained = Trained::Adapters(adapters.clone());
        let out = step::gradients::<A>(decoder, &trained, &examples, activations, paces.len() as u64);
        let (gradients, _) = clip(out.gradients, training.max_grad_norm);
        // The update is part of a step's time; its result is dropped.
        let settings = OptimizerSettings::from(&manifest.settings);
        let mut optimizer = Optimizer::new(&adapters.parameters, settings);
        drop(optimizer.update(&adapters.parameters, &gradients, 0.0));
        paces.push(out.tokens as f64 / step_begin.elapsed().as_secs_f64());
    }
    if paces.len() > 1 {
        paces.remove(0);
    }
    Ok(paces)
}

/// Tokens per second of scoring, and of writing text.
fn evaluation_pace<B: Ops>(
    settings: &Settings,
    stage: &StageWork,
    decoder: &Decoder<B>,
    adapters: &Adapters<B>,
) -> Result<(f64, Option<f64>), TrainError> {
    let (mut tokens, mut scored) = (0, Vec::new());
    for example in stage.data.validation.examples.iter() {
        let example = example?;
        tokens += example.tokens.len() as u64;
        scored.push(example);
        if tokens >= SCORED_TOKENS {
            break;
        }
    }
    let begin = Instant::now();
    evaluate::score(decoder, Some(adapters), &scored);
    let scoring = tokens_of(&scored) as f64 / begin.elapsed().as_secs_f64();
    let wanted = written_together(settings, decoder.config().max_position_embeddings, &scored);
    let begin = Instant::now();
    let written: usize =
        evaluate::generate_all(decoder, Some(adapters), &wanted, &[]).iter().map(Vec::len).sum();
    let writing = (written > 0).then(|| written as f64 / begin.elapsed().as_secs_f64());
    Ok((scoring, writing))
}

/// The first batch of text that an evaluation writes, of few tokens each.
fn written_together<'a>(settings: &Settings, context: usize, examples: &'a [Example]) -> Vec<Wanted<'a>> {
    let at_most = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let context = context.min(at_most(settings.training.max_seq_length));
    let (mut wanted, mut tokens) = (Vec::new(), 0);
    for example in examples.iter().take(at_most(settings.evaluation.generate_records).max(1)) {
        tokens += evaluate::needed_tokens(example);
        if evaluate::is_full(wanted.len(), tokens, context) {
            break;
        }
        let limit = evaluate::generation_limit(example).min(WRITTEN_TOKENS);
        wanted.push(Wanted { prompt: example.prompt_tokens(), limit });
    }
    wanted
}

/// A meter as the run's own; none when metering is off or impossible, and then no energy is planned.
fn start_meter(manifest: &RunManifest) -> Option<Meter> {
    let carbon = &manifest.settings.carbon;
    let (project, run_id) = (manifest.settings.project.name.clone(), manifest.run_id.clone());
    // Power alone is asked for, so the yearly figure of the grid will do.
    let config = MeterConfig {
        experiment_id: String::from("plan"),
        interval: Duration::from_millis(500),
        ..MeterConfig::of(carbon, &MeterEnvironment::default(), project, run_id).ok()?
    };
    if carbon.enabled { Meter::start(config).ok() } else { None }
}

/// Ends of the interval of all components together, as factors of their energy.
fn factors(provenance: &EmissionsProvenance) -> [f64; 2] {
    let energy = quantities::sum(provenance.components.iter().map(|part| part.energy_kwh));
    let [low, high] = provenance.energy_interval_kwh();
    if energy > 0.0 { [low / energy, high / energy] } else { [1.0, 1.0] }
}
