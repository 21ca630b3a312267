//! `greentune runs plan`: what a run will need, and how far off the plan was.

use clap::Args;
use greentune_core_config::{
    memory::bytes_in_words,
    plan::{MemoryPlan, PlanAccuracy, PlanBasis, PlannedActual, StageTime, TrainingPlan},
    quantities::{count, counted, duration, energy_unit, mass_unit, number},
};
use greentune_workbench::operation::{PlanTraining, PlanTrainingResponse};

use crate::{
    failure::Failure,
    output::Paint,
    session::Session,
    table::{list, table},
};

/// Arguments of `runs plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Measure steps even if earlier runs give the pace, and plan a completed run again
    #[arg(long)]
    measure: bool,
}

impl Plan {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        session.output.note("reading the data, and trying a few steps where no earlier run gives the pace …");
        let request = PlanTraining {
            project_path: session.project(),
            run_id: self.run,
            measure: self.measure.then_some(true),
        };
        let response = session.workbench()?.plan_training(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &PlanTrainingResponse, paint: Paint) -> String {
    let plan = &response.plan;
    let mut lines = vec![format!("{}  {}", paint.heading(&plan.run_id), basis(plan))];
    lines.extend(figures(plan, paint));
    lines.extend(plan.time.iter().flat_map(|time| [paint.heading("stages"), stages(&time.stages)]));
    lines.push(paint.heading("memory by part"));
    lines.push(parts(&plan.memory));
    lines.push(paint.heading("assumptions"));
    lines.extend(plan.assumptions.iter().map(|assumption| format!("  {assumption}")));
    lines.extend(response.accuracy.iter().flat_map(|accuracy| how_far_off(accuracy, paint)));
    if response.accuracy.is_none() {
        lines.extend(response.last_plan.iter().flat_map(|accuracy| how_far_off(accuracy, paint)));
    }
    lines.push(format!("kept in {}", response.plan_file.display()));
    lines.join("\n")
}

fn basis(plan: &TrainingPlan) -> String {
    let rests_on = match plan.basis {
        PlanBasis::MeasuredSteps => String::from("from steps measured just for this plan"),
        PlanBasis::PastRuns => format!("from {}", plan.past_runs.join(", ")),
        PlanBasis::Formula => String::from("memory alone"),
    };
    format!("planned for {}, {rests_on}", plan.device)
}

fn figures(plan: &TrainingPlan, paint: Paint) -> Vec<String> {
    let memory = &plan.memory;
    let [least, most] = memory.peak_range_bytes.map(bytes_in_words);
    let free = memory.available.bytes.map_or_else(
        || memory.available.limited_by.clone(),
        |free| format!("{} has {} free", memory.available.limited_by, bytes_in_words(free)),
    );
    let mut rows = vec![(
        "memory",
        format!("{} at its peak ({least} to {most}); {free}", bytes_in_words(memory.peak_bytes)),
    )];
    if let Some(time) = &plan.time {
        let [least, most] = time.range_seconds.map(duration);
        rows.push(("time", format!("{} ({least} to {most})", duration(time.duration_seconds))));
    }
    if let Some(used) = &plan.energy {
        let unit = energy_unit(used.range_kwh[1].max(used.energy_kwh));
        let [least, most] = used.range_kwh.map(|kwh| unit.text(kwh));
        let power = format!("{} W {}", number(used.power_w), used.basis);
        rows.push(("energy", format!("{} ({least} to {most}), {power}", unit.text(used.energy_kwh))));
    }
    if let Some(carbon) = &plan.carbon {
        let unit = mass_unit(carbon.range_kg_co2[1].max(carbon.emissions_kg_co2));
        let [least, most] = carbon.range_kg_co2.map(|kg| unit.text(kg));
        let grid = number(carbon.carbon_intensity_g_per_kwh);
        let total = unit.text(carbon.emissions_kg_co2);
        rows.push(("carbon", format!("{total} CO2e ({least} to {most}), grid {grid} g CO2e per kWh")));
    }
    if let Some(cost) = &plan.cost {
        let currency = cost.currency.as_deref().map(|currency| format!(" {currency}")).unwrap_or_default();
        let [least, most] = cost.range.map(number);
        let price = number(cost.price_per_kwh);
        let amount = number(cost.amount);
        rows.push(("cost", format!("{amount}{currency} ({least} to {most}), at {price}{currency} per kWh")));
    }
    rows.push((
        "model",
        format!(
            "{}, of which adapters train {}",
            counted(plan.base_parameters, "weight"),
            count(plan.trainable_parameters)
        ),
    ));
    let mut lines: Vec<_> = rows.into_iter().map(|(name, text)| format!("  {name:<7} {text}")).collect();
    lines.extend(warning(memory, paint));
    lines
}

fn warning(memory: &MemoryPlan, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if memory.fits == Some(false) {
        lines.push(paint.bad("  it does not fit into memory: training will be refused"));
    }
    for reduction in &memory.reductions {
        let settings = reduction.settings.join(", ");
        lines.push(format!(
            "  {}: {settings} needs {}",
            paint.good("less"),
            bytes_in_words(reduction.needed_bytes)
        ));
    }
    lines
}

fn stages(stages: &[StageTime]) -> String {
    let heading = ["", "tokens", "tokens/s", "training", "evaluation", "writing"].map(str::to_owned).into();
    let row = |stage: &StageTime| {
        vec![
            format!("  stage {}", stage.stage),
            count(stage.tokens),
            count(stage.tokens_per_second.round() as u64),
            duration(stage.training_seconds),
            duration(stage.evaluation_seconds),
            duration(stage.generation_seconds),
        ]
    };
    table(&std::iter::once(heading).chain(stages.iter().map(row)).collect::<Vec<_>>())
}

fn parts(memory: &MemoryPlan) -> String {
    let row = |part: &greentune_core_config::memory::MemoryPart| {
        vec![format!("  {}", part.name), bytes_in_words(part.bytes), part.formula.clone()]
    };
    list(&memory.estimate.parts.iter().map(row).collect::<Vec<_>>())
}

/// A table of planned and actual figures.
pub fn how_far_off(accuracy: &PlanAccuracy, paint: Paint) -> Vec<String> {
    let afterwards = if accuracy.planned_afterwards { ", planned after training" } else { "" };
    let heading =
        format!("how far off the plan of {} was ({}{afterwards})", accuracy.run_id, accuracy.basis.as_str());
    let titles = ["", "planned", "actual", "actual/planned", ""].map(str::to_owned).into();
    let row = |quantity: &PlannedActual| {
        let (name, in_words) = of_quantity(&quantity.quantity, quantity.planned.max(quantity.actual));
        let range = if quantity.within_range { "within its range" } else { "outside its range" };
        vec![
            format!("  {name}"),
            in_words(quantity.planned),
            in_words(quantity.actual),
            format!("{:.2}", quantity.ratio),
            range.to_owned(),
        ]
    };
    let rows: Vec<_> = std::iter::once(titles).chain(accuracy.quantities.iter().map(row)).collect();
    vec![paint.heading(heading), table(&rows)]
}

/// The name of `quantity`, and its figures up to `most` in words of one unit.
fn of_quantity(quantity: &str, most: f64) -> (&str, Box<dyn Fn(f64) -> String>) {
    match quantity {
        "peak_memory_bytes" => ("peak memory", Box::new(|bytes| bytes_in_words(bytes as u64))),
        "duration_seconds" => ("time", Box::new(duration)),
        "energy_kwh" => ("energy", Box::new(move |kwh| energy_unit(most).text(kwh))),
        "emissions_kg_co2" => ("carbon", Box::new(move |kg| format!("{} CO2e", mass_unit(most).text(kg)))),
        other => (other, Box::new(number)),
    }
}
