//! From findings and earlier runs to a plan.

use greentune_carbon::{
    Host,
    intensity::{GridSource, Place},
    memory,
};
use greentune_core_config::{
    manifest::RunManifest,
    memory::{estimate, reductions},
    plan::{
        CarbonPlan, CostPlan, EnergyPlan, FORMAT_VERSION, MemoryPlan, PlanBasis, StageTime, TimePlan,
        TrainingPlan,
    },
    quantities::{number, sum},
    settings::{AstSettings, AstUnit},
    task::{PlanFindings, PlanMeasurement, PlanStage},
};
use jiff::Timestamp;

use super::past::Past;

/// Least half-width of a time that rests on a few steps: load and temperature of a machine change within a run.
const STEPS_HALF_WIDTH: f64 = 0.25;
/// Least half-width of a time that rests on whole runs.
const RUNS_HALF_WIDTH: f64 = 0.15;
/// Half-width of the memory formula; `docs/benchmarks/plan.md`.
const FORMULA_HALF_WIDTH: f64 = 0.25;
/// The same once earlier runs have corrected it.
const CORRECTED_HALF_WIDTH: f64 = 0.15;
/// Ends of the interval of a power whose meter left no provenance, as factors of it: those of the widest model.
const UNKNOWN_METER: [f64; 2] = [0.5, 3.0];
/// Share of the free memory above which a plan names what would lower the need.
const ROOMY: f64 = 0.8;

/// The plan of a run: on `past` when it rests on earlier runs, its memory corrected by `memory_ratios` of such runs.
pub(crate) fn put_together(
    manifest: &RunManifest,
    findings: &PlanFindings,
    past: Option<&Past>,
    memory_ratios: &[f64],
) -> TrainingPlan {
    let memory = memory_plan(manifest, findings, median(memory_ratios));
    let paces = past.map(Paces::of_past).or_else(|| findings.measured.as_ref().map(Paces::of_measurement));
    let basis = match (past, &findings.measured) {
        (Some(_), _) => PlanBasis::PastRuns,
        (None, Some(_)) => PlanBasis::MeasuredSteps,
        (None, None) => PlanBasis::Formula,
    };
    let time = paces.as_ref().map(|paces| paces.time(&findings.stages));
    let pue = manifest.settings.carbon.pue;
    let power =
        paces.as_ref().and_then(|paces| paces.power(pue)).filter(|_| manifest.settings.carbon.enabled);
    let energy = time.as_ref().zip(power).map(|(time, power)| energy_plan(time, power));
    let carbon = energy.as_ref().map(|energy| carbon_plan(manifest, energy));
    let cost = energy.as_ref().and_then(|energy| cost_plan(manifest, energy));
    TrainingPlan {
        format_version: FORMAT_VERSION,
        run_id: manifest.run_id.clone(),
        planned_at: Timestamp::now(),
        greentune_version: env!("CARGO_PKG_VERSION").to_owned(),
        device: findings.device.clone(),
        basis,
        past_runs: past.map(|past| past.runs.clone()).unwrap_or_default(),
        base_parameters: findings.shape.parameters(),
        trainable_parameters: findings
            .shape
            .trainable_parameters(findings.memory.rank, &findings.memory.target_modules),
        assumptions: assumptions(basis, &manifest.settings.ast, &memory, paces.as_ref(), energy.as_ref()),
        memory,
        time,
        energy,
        carbon,
        cost,
    }
}

fn memory_plan(manifest: &RunManifest, findings: &PlanFindings, correction: Option<f64>) -> MemoryPlan {
    let estimate = estimate(&findings.shape, &findings.memory);
    let factor = correction.unwrap_or(1.0);
    let scaled = |bytes: u64, factor: f64| (bytes as f64 * factor).round() as u64;
    let half = if correction.is_some() { CORRECTED_HALF_WIDTH } else { FORMULA_HALF_WIDTH };
    let peak = scaled(estimate.peak_bytes(), factor);
    let available =
        if findings.on_cpu { memory::available(&Host::default()) } else { memory::gpu_available() };
    let is_tight = available.bytes.is_some_and(|free| peak as f64 > ROOMY * free as f64);
    let reductions = if is_tight {
        reductions(&findings.shape, &findings.memory, &manifest.settings, findings.largest_stage)
    } else {
        Vec::new()
    };
    MemoryPlan {
        peak_bytes: peak,
        peak_range_bytes: [scaled(peak, 1.0 - half), scaled(peak, 1.0 + half)],
        estimate,
        correction,
        fits: available.bytes.map(|free| peak <= free),
        available,
        reductions,
    }
}

/// Paces, however they were got.
struct Paces {
    steps: Vec<(u8, f64)>,
    /// Seconds per token and per record of an evaluation; one of them is known.
    evaluation: (Option<f64>, Option<f64>),
    /// The same of writing text.
    generation: (Option<f64>, Option<f64>),
    loading_seconds: Option<f64>,
    half_width: f64,
    power: Option<Power>,
    includes_pue: bool,
}

/// Power in W, how it was got, and the ends of its interval as factors of it.
#[derive(Clone)]
struct Power {
    watts: f64,
    basis: String,
    factors: [f64; 2],
}

impl Power {
    /// Distance of the farther end of the interval, as a fraction.
    fn uncertainty(&self) -> f64 {
        let [low, high] = self.factors;
        (1.0 - low).max(high - 1.0)
    }
}

impl Paces {
    fn of_past(past: &Past) -> Self {
        let mean = mean(&past.step_tokens_per_second);
        let power = past.power_w.map(|watts| Power {
            watts,
            basis: past.power_basis.clone(),
            factors: past.power_factors.unwrap_or(UNKNOWN_METER),
        });
        Self {
            // Stage 0 stands for all.
            steps: vec![(0, mean)],
            evaluation: (None, past.evaluation_seconds_per_record),
            generation: (None, past.generation_seconds_per_record),
            loading_seconds: None,
            half_width: RUNS_HALF_WIDTH.max(2.0 * deviation(&past.step_tokens_per_second) / mean),
            power,
            includes_pue: false,
        }
    }

    fn of_measurement(measured: &PlanMeasurement) -> Self {
        let steps = &measured.step_tokens_per_second;
        // A stage is a sum of many steps, so that their single spreads even out.
        let of_mean = |paces: &[f64]| 2.0 * deviation(paces) / mean(paces) / (paces.len() as f64).sqrt();
        let spread = steps.iter().map(|(_, paces)| of_mean(paces));
        let power = measured.power_w.map(|watts| Power {
            watts,
            basis: measured.power_basis.clone(),
            factors: measured.power_factors.unwrap_or_else(|| {
                let half_width = measured.power_uncertainty;
                [(1.0 - half_width).max(0.0), 1.0 + half_width]
            }),
        });
        Self {
            steps: steps.iter().map(|(stage, paces)| (*stage, harmonic_mean(paces))).collect(),
            evaluation: (Some(1.0 / measured.evaluation_tokens_per_second), None),
            generation: (measured.generation_tokens_per_second.map(|pace| 1.0 / pace), None),
            loading_seconds: Some(measured.loading_seconds),
            half_width: spread.fold(STEPS_HALF_WIDTH, f64::max),
            power,
            includes_pue: true,
        }
    }

    fn power(&self, pue: f64) -> Option<Power> {
        let factor = if self.includes_pue { 1.0 } else { pue };
        self.power.clone().map(|power| Power { watts: power.watts * factor, ..power })
    }

    fn time(&self, stages: &[PlanStage]) -> TimePlan {
        let stages: Vec<_> = stages.iter().map(|stage| self.stage_time(stage)).collect();
        let work =
            |stage: &StageTime| stage.training_seconds + stage.evaluation_seconds + stage.generation_seconds;
        let duration = self.loading_seconds.unwrap_or(0.0) + sum(stages.iter().map(work));
        TimePlan {
            duration_seconds: duration,
            range_seconds: [duration * (1.0 - self.half_width).max(0.0), duration * (1.0 + self.half_width)],
            loading_seconds: self.loading_seconds,
            stages,
        }
    }

    fn stage_time(&self, stage: &PlanStage) -> StageTime {
        let of_stage = |(number, pace): &(u8, f64)| [0, stage.stage].contains(number).then_some(*pace);
        let pace = self.steps.iter().find_map(of_stage).unwrap_or(f64::INFINITY);
        let seconds = |(per_token, per_record): (Option<f64>, Option<f64>), tokens: u64, records: u64| {
            let by_token = per_token.map(|seconds| seconds * tokens as f64);
            by_token.or_else(|| Some(per_record? * records as f64))
        };
        // A forward pass alone is about half of a step whose base is frozen.
        let forward = stage.evaluation_tokens as f64 / (2.0 * pace);
        StageTime {
            stage: stage.stage,
            tokens: stage.tokens,
            tokens_per_second: pace,
            training_seconds: stage.tokens as f64 / pace,
            evaluation_seconds: seconds(self.evaluation, stage.evaluation_tokens, stage.evaluation_records)
                .unwrap_or(forward),
            generation_seconds: seconds(self.generation, stage.generated_tokens, stage.generated_records)
                .unwrap_or(0.0),
        }
    }
}

fn energy_plan(time: &TimePlan, power: Power) -> EnergyPlan {
    let energy_kwh = power.watts * time.duration_seconds / 3.6e6;
    let of_time = time.range_seconds.map(|seconds| seconds / time.duration_seconds);
    EnergyPlan {
        energy_kwh,
        range_kwh: of_product(of_time, power.factors).map(|factor| energy_kwh * factor),
        power_w: power.watts,
        uncertainty: power.uncertainty(),
        power_range_w: power.factors.map(|factor| power.watts * factor),
        basis: power.basis,
    }
}

/// Ends of the interval of a product whose two factors err independently, each between ends that are factors of it: the
/// logarithms of the ends add up as squares. An end that is 0 stays 0.
fn of_product(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    let distance = |end: usize| a[end].ln().hypot(b[end].ln());
    // Where an end is on the wrong side or not known, the factor is 1.
    [(-distance(0)).exp().min(1.0), distance(1).exp().max(1.0)]
}

fn carbon_plan(manifest: &RunManifest, energy: &EnergyPlan) -> CarbonPlan {
    let carbon = &manifest.settings.carbon;
    // Live figures are not asked for: those of now say little of the hours that a run will take.
    let grid = GridSource::yearly(&Place::from(carbon)).now();
    let kg = |kwh: f64| kwh * grid.g_per_kwh / 1000.0;
    let [least, most] = energy.range_kwh.map(kg);
    let source = std::iter::once(&grid.source).chain(&grid.notes).map(String::as_str);
    CarbonPlan {
        emissions_kg_co2: kg(energy.energy_kwh),
        range_kg_co2: [least * (1.0 - grid.uncertainty).max(0.0), most * (1.0 + grid.uncertainty)],
        carbon_intensity_g_per_kwh: grid.g_per_kwh,
        carbon_intensity_source: source.collect::<Vec<_>>().join("; "),
    }
}

fn cost_plan(manifest: &RunManifest, energy: &EnergyPlan) -> Option<CostPlan> {
    let carbon = &manifest.settings.carbon;
    let price = carbon.electricity_price_per_kwh?;
    Some(CostPlan {
        amount: energy.energy_kwh * price,
        range: energy.range_kwh.map(|kwh| kwh * price),
        price_per_kwh: price,
        currency: carbon.electricity_currency.clone(),
    })
}

fn assumptions(
    basis: PlanBasis,
    ast: &AstSettings,
    memory: &MemoryPlan,
    paces: Option<&Paces>,
    energy: Option<&EnergyPlan>,
) -> Vec<String> {
    let mut all =
        vec![String::from("the tokens of every step are counted, because draws follow from the seed")];
    if ast.enabled && ast.unit == AstUnit::Sample {
        all.push(format!(
            "where records are selected, {:.0} % of these tokens are trained on; the largest batch is taken to hold the longest records",
            100.0 * ast.target_activation_rate
        ));
    }
    match basis {
        PlanBasis::MeasuredSteps => all.push(String::from(
            "the machine stays as busy as it was while the steps were measured; an untrained model writes each \
             response to its longest",
        )),
        PlanBasis::PastRuns => all.push(String::from(
            "records of an evaluation are as long as in the earlier runs; loading the model is left out",
        )),
        PlanBasis::Formula => all.push(String::from("no step was measured, so time and energy are not known")),
    }
    if let Some(paces) = paces {
        all.push(format!("the time may be off by {:.0} %", 100.0 * paces.half_width));
    }
    if let Some(energy) = energy {
        let [low, high] = energy.power_range_w;
        all.push(format!(
            "power stays at its mean of {} W; by its meter ({}) it is between {} and {} W",
            number(energy.power_w),
            energy.basis,
            number(low),
            number(high),
        ));
    }
    match memory.correction {
        Some(factor) => all.push(format!("memory: the formula times {factor:.2}, as earlier runs measured")),
        None => all.push(format!("memory: the formula may be off by {:.0} %", 100.0 * FORMULA_HALF_WIDTH)),
    }
    all
}

fn mean(values: &[f64]) -> f64 {
    sum(values.iter().copied()) / values.len().max(1) as f64
}

/// The pace over steps of which each went at one of `paces` for as many tokens.
fn harmonic_mean(paces: &[f64]) -> f64 {
    paces.len() as f64 / paces.iter().map(|pace| 1.0 / pace).sum::<f64>()
}

/// Standard deviation of a sample; 0 for less than two values.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted.get(middle).copied()
    } else {
        Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_the_usual_ones() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert!((deviation(&[1.0, 2.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!(deviation(&[5.0]).abs() < 1e-12);
        assert!((harmonic_mean(&[1.0, 3.0]) - 1.5).abs() < 1e-12);
    }

    fn stage() -> PlanStage {
        PlanStage {
            stage: 2,
            tokens: 1000,
            largest_batch_tokens: 100,
            evaluation_tokens: 400,
            evaluation_records: 40,
            generated_records: 4,
            generated_tokens: 60,
        }
    }

    #[test]
    fn a_measurement_becomes_seconds_by_tokens() {
        let measured = PlanMeasurement {
            loading_seconds: 1.0,
            step_tokens_per_second: vec![(1, vec![1.0]), (2, vec![100.0, 100.0])],
            evaluation_tokens_per_second: 200.0,
            generation_tokens_per_second: Some(30.0),
            power_w: Some(36.0),
            power_basis: String::from("measured"),
            power_uncertainty: 0.1,
            power_factors: None,
        };
        let paces = Paces::of_measurement(&measured);
        let time = paces.time(&[stage()]);
        let expected = StageTime {
            stage: 2,
            tokens: 1000,
            tokens_per_second: 100.0,
            training_seconds: 10.0,
            evaluation_seconds: 2.0,
            generation_seconds: 2.0,
        };
        assert_eq!((time.stages[0], time.duration_seconds), (expected, 15.0));
        let [least, most] = time.range_seconds;
        assert!((least - 11.25).abs() < 1e-12 && (most - 18.75).abs() < 1e-12);
        let energy = energy_plan(&time, paces.power(2.0).unwrap());
        assert!(
            (energy.energy_kwh - 36.0 * 15.0 / 3.6e6).abs() < 1e-15,
            "PUE is in the measured power already"
        );
        // 1.25 and 1.1 err independently: exp(hypot(ln 1.25, ln 1.1)).
        assert!((energy.range_kwh[1] / energy.energy_kwh - 1.274_617).abs() < 1e-6, "{energy:?}");
    }

    /// 0 to 6.38 Wh for 2.23 Wh was no plan: the meter said half to three times.
    #[test]
    fn energy_is_about_as_certain_as_its_meter_and_as_lopsided() {
        let measured = PlanMeasurement {
            loading_seconds: 1.0,
            step_tokens_per_second: vec![(2, vec![100.0, 100.0])],
            evaluation_tokens_per_second: 200.0,
            generation_tokens_per_second: None,
            power_w: Some(36.0),
            power_basis: String::from("modelled"),
            power_uncertainty: 2.0,
            power_factors: Some([0.5, 3.0]),
        };
        let paces = Paces::of_measurement(&measured);
        let energy = energy_plan(&paces.time(&[stage()]), paces.power(1.0).unwrap());
        let [low, high] = energy.range_kwh.map(|bound| bound / energy.energy_kwh);
        assert!((0.45..0.5).contains(&low) && (3.0..3.1).contains(&high), "{low} {high}");
        assert_eq!((energy.power_range_w, energy.basis.as_str()), ([18.0, 108.0], "modelled"));
        assert!((energy.uncertainty - 2.0).abs() < 1e-12);
    }

    #[test]
    fn earlier_runs_become_seconds_by_records_and_get_this_runs_pue() {
        let past = Past {
            step_tokens_per_second: vec![50.0, 50.0],
            evaluation_seconds_per_record: Some(0.1),
            generation_seconds_per_record: None,
            power_w: Some(10.0),
            ..Past::default()
        };
        let paces = Paces::of_past(&past);
        let time = paces.time(&[stage()]);
        assert!((time.duration_seconds - (20.0 + 4.0)).abs() < 1e-12, "{time:?}");
        assert!((paces.power(1.5).unwrap().watts - 15.0).abs() < 1e-12);
        let unknown = Paces::of_past(&Past { evaluation_seconds_per_record: None, ..past });
        assert!((unknown.time(&[stage()]).stages[0].evaluation_seconds - 4.0).abs() < 1e-12);
    }
}
