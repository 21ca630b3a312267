//! Advice that follows from a run's figures. Each function answers with one recommendation or none.

use greentune_core_config::{
    Basis,
    quantities::{energy, mass, sum},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CleanerHours, RunFacts, SparseTraining, StageRow, totals};
use crate::{
    grid::{self, CarbonIntensity},
    reports::equivalence::EquivalenceTable,
};

/// What would lower a figure, or make it better known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendation {
    /// What it is about.
    pub kind: RecommendationKind,
    /// In a sentence, with this run's figures.
    pub text: String,
    /// kg CO2-equivalent that the run would not have emitted; absent where nothing is saved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub saves_kg: Option<f64>,
    /// How that is known: from energy that counters measured, from energy of which a part is modelled, or by an
    /// assumption on top of it.
    #[schemars(schema_with = "greentune_core_config::basis::of_advice")]
    pub basis: Basis,
}

/// What a recommendation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecommendationKind {
    /// A place with cleaner electricity.
    CleanerPlace,
    /// An hour with cleaner electricity.
    CleanerHour,
    /// A model with fewer parameters.
    SmallerModel,
    /// Ending once the validation loss stops falling.
    EarlyStopping,
    /// Training on a part of the samples.
    SparseTraining,
    /// A GPU that waits.
    IdleGpu,
    /// The data centre's overhead.
    Overhead,
    /// What offsetting would cost.
    Offset,
    /// A counter that exists and may not be read.
    UnreadableCounter,
    /// The run beside the others.
    Trend,
}

/// A smaller saving is not reported: kg, and share of the run.
const WORTH_SAVING_KG: f64 = 0.001;
const WORTH_SAVING_SHARE: f64 = 0.1;
/// A place must be twice as clean: its yearly mean may well be off by some tens of percent at the hour of a run.
const CLEANER_BY: f64 = 2.0;
/// A GPU that is busy for less of the time than this waits for something.
const BUSY_GPU_PERCENT: f64 = 50.0;
/// Grids of water and nuclear power that have data centres. Québec is none of them, because its figure is of combustion
/// alone and theirs are of whole life cycles.
const CLEAN_GRIDS: [&str; 4] = ["NOR", "SWE", "ISL", "FRA"];

pub(super) fn of(rows: &[StageRow], factors: &EquivalenceTable, facts: &RunFacts) -> Vec<Recommendation> {
    let run = Run::new(rows);
    let mut advice: Vec<Recommendation> = [
        run.cleaner_place(),
        facts.cleaner_hours.as_ref().and_then(|hours| run.cleaner_hour(hours)),
        facts.steps_after_best_validation.and_then(|(after, all)| run.early_stopping(after, all)),
        facts.sparse_training.and_then(|sparse| run.sparse_training(sparse)),
        facts.parameters.map(|parameters| run.smaller_model(parameters)),
        run.overhead(),
    ]
    .into_iter()
    .flatten()
    .chain(rows.iter().filter_map(idle_gpu))
    .filter(|one| run.is_worth(one.saves_kg))
    .collect();
    // What saves most stands first.
    advice.sort_by(|a, b| b.saves_kg.unwrap_or_default().total_cmp(&a.saves_kg.unwrap_or_default()));
    advice.extend(run.offset(factors));
    advice.extend(readable_counter(rows));
    advice.extend(run.trend(facts));
    advice
}

/// A run's figures that advice is about.
struct Run<'a> {
    rows: &'a [StageRow],
    kg: f64,
    kwh: f64,
    basis: Basis,
}

impl<'a> Run<'a> {
    fn new(rows: &'a [StageRow]) -> Self {
        let totals = totals(rows);
        let is_measured = |row: &StageRow| {
            let components = row.provenance.as_ref().map_or(&[][..], |known| &known.components);
            !components.is_empty() && components.iter().all(|one| one.basis == Basis::Measured)
        };
        let basis = if rows.iter().all(is_measured) { Basis::Measured } else { Basis::Modelled };
        Self { rows, kg: totals.total_emissions_kg_co2, kwh: totals.total_energy_kwh, basis }
    }

    fn is_worth(&self, saves_kg: Option<f64>) -> bool {
        saves_kg.is_some_and(|kg| kg >= WORTH_SAVING_KG && kg >= WORTH_SAVING_SHARE * self.kg)
    }

    /// What the same energy would have emitted in the cleanest region of the same country, else in the cleanest of some
    /// grids that data centres are on.
    fn cleaner_place(&self) -> Option<Recommendation> {
        let country = &self.rows.first()?.record.country_iso_code;
        let there_kg = |place: &CarbonIntensity| self.kwh * place.g_per_kwh / 1000.0;
        let is_cleaner = |place: &&CarbonIntensity| there_kg(place) * CLEANER_BY <= self.kg;
        let is_one_country = self.rows.iter().all(|row| row.record.country_iso_code == *country);
        let near = grid::cleanest_region(country).filter(|_| is_one_country);
        let far = || {
            let grids = CLEAN_GRIDS.iter().map(|country| grid::find(country, None).intensity);
            grids.min_by(|a, b| a.g_per_kwh.total_cmp(&b.g_per_kwh))
        };
        let place = near.filter(is_cleaner).or_else(|| far().filter(is_cleaner))?;
        let text = format!(
            "The same {} would have emitted {} instead of {} in {} ({:.0} g/kWh, {}).",
            energy(self.kwh),
            mass(there_kg(place)),
            mass(self.kg),
            place.name(),
            place.g_per_kwh,
            place.year
        );
        Some(self.saving(RecommendationKind::CleanerPlace, self.kg - there_kg(place), self.basis, text))
    }

    fn cleaner_hour(&self, hours: &CleanerHours) -> Option<Recommendation> {
        let share = 1.0 - hours.mean_g_per_kwh / hours.now_g_per_kwh;
        let saves_kg = self.kg * share;
        let text = format!(
            "Between {} and {} {} is {:.0} g/kWh, {:.0} % below the {:.0} g/kWh of now: a run like this one would \
             emit {} less.",
            hours.start.strftime("%Y-%m-%d %H:%M"),
            hours.end.strftime("%Y-%m-%d %H:%M UTC"),
            hours.source,
            hours.mean_g_per_kwh,
            100.0 * share,
            hours.now_g_per_kwh,
            mass(saves_kg)
        );
        (share > 0.0 && share.is_finite())
            .then(|| self.saving(RecommendationKind::CleanerHour, saves_kg, Basis::Estimated, text))
    }

    fn early_stopping(&self, after: u64, all: u64) -> Option<Recommendation> {
        let share = after.min(all) as f64 / all as f64;
        let saves_kg = self.kg * share;
        let text = format!(
            "The validation loss was best {after} of {all} steps before the end; stopping there would have saved \
             {:.0} % of the energy, {}.",
            100.0 * share,
            mass(saves_kg)
        );
        (after > 0 && all > 0)
            .then(|| self.saving(RecommendationKind::EarlyStopping, saves_kg, self.basis, text))
    }

    /// By arithmetic alone: what is read, evaluated and idle does not shrink with it, so it is a bound.
    fn sparse_training(&self, sparse: SparseTraining) -> Option<Recommendation> {
        let share = sparse.saves();
        let saves_kg = self.kg * share;
        let text = format!(
            "Adaptive sparse training (ast.enabled) on {:.0} % of the samples in {:.0} of the {:.0} passes over the data \
             would have spared {:.0} % of the arithmetic of training, up to {}; a comparison with this run would show \
             the effect on accuracy.",
            100.0 * sparse.rate,
            sparse.passes - sparse.warm_up,
            sparse.passes,
            100.0 * share,
            mass(saves_kg)
        );
        (share > 0.0)
            .then(|| self.saving(RecommendationKind::SparseTraining, saves_kg, Basis::Estimated, text))
    }

    /// Training takes about 6 FLOP per parameter and token (Kaplan et al. 2020, arXiv:2001.08361), so energy is
    /// proportional to the parameters. Half is an example: the run cannot say how small a model may be.
    fn smaller_model(&self, parameters: u64) -> Recommendation {
        let saves_kg = self.kg / 2.0;
        let text = format!(
            "Energy of training grows about in proportion to a model's parameters: for example, one with half of these {} \
             would have saved about {}, if it is good enough for the task.",
            count(parameters),
            mass(saves_kg)
        );
        self.saving(RecommendationKind::SmallerModel, saves_kg, Basis::Estimated, text)
    }

    /// What the data centre adds.
    fn overhead(&self) -> Option<Recommendation> {
        let added = |row: &StageRow| row.record.emissions * (1.0 - 1.0 / row.record.pue.max(1.0));
        let added = sum(self.rows.iter().map(added));
        let text = format!(
            "{} of the {} are the data centre's overhead (PUE); a site with a lower PUE saves up to that.",
            mass(added),
            mass(self.kg)
        );
        (added > 0.0).then(|| self.saving(RecommendationKind::Overhead, added, self.basis, text))
    }

    /// Given once offsetting costs at least a cent.
    fn offset(&self, factors: &EquivalenceTable) -> Option<Recommendation> {
        let [low, high] = factors.offset_usd(self.kg);
        let text = format!(
            "Offsetting {} would cost {low:.2} to {high:.2} USD, or take {:.1} trees a year ({}); it does not lower the \
             figure.",
            mass(self.kg),
            factors.of(self.kg).trees_to_offset_1year,
            factors.tree_year.unit
        );
        let offset = Recommendation {
            kind: RecommendationKind::Offset,
            text,
            saves_kg: None,
            basis: Basis::Estimated,
        };
        (high >= 0.01).then_some(offset)
    }

    fn trend(&self, facts: &RunFacts) -> Option<Recommendation> {
        let all = facts.all_runs.as_ref()?;
        let others = all.total_runs.checked_sub(1).filter(|others| *others > 0)?;
        let mean_kg = (all.total_emissions_kg_co2 - self.kg) / others as f64;
        let times = self.kg / mean_kg;
        let times =
            if times < 0.1 { String::from("less than a tenth of") } else { format!("{times:.1} times") };
        let text = format!(
            "The run emitted {}, {times} the mean of the {others} other run(s) here ({}).",
            mass(self.kg),
            mass(mean_kg)
        );
        let trend =
            Recommendation { kind: RecommendationKind::Trend, text, saves_kg: None, basis: self.basis };
        (mean_kg > 0.0).then_some(trend)
    }

    fn saving(&self, kind: RecommendationKind, kg: f64, basis: Basis, text: String) -> Recommendation {
        Recommendation { kind, text, saves_kg: Some(kg.min(self.kg)), basis }
    }
}

/// Busier GPUs would be done earlier; what they draw while idle is not known, so the saving is a bound.
fn idle_gpu(row: &StageRow) -> Option<Recommendation> {
    let record = &row.record;
    let share = record.gpu_energy / record.energy_consumed;
    let busy = record.gpu_utilization_percent;
    let text = format!(
        "In stage {} the GPU took {:.0} % of the energy but was busy {busy:.0} % of the time; a larger batch_size \
         would use the same watts for more records.",
        row.stage,
        share * 100.0
    );
    let saves_kg = record.emissions * share * (1.0 - busy / 100.0);
    (share > 0.5 && busy < BUSY_GPU_PERCENT).then_some(Recommendation {
        kind: RecommendationKind::IdleGpu,
        text,
        saves_kg: Some(saves_kg),
        basis: Basis::Estimated,
    })
}

/// A counter that exists and may not be read: the figures could be measured instead of modelled.
fn readable_counter(rows: &[StageRow]) -> Option<Recommendation> {
    let denied =
        |note: &String| note.starts_with("RAPL") && note.to_lowercase().contains("permission denied");
    let denied =
        rows.iter().filter_map(|row| row.provenance.as_ref()).any(|known| known.notes.iter().any(denied));
    let text = "The processor's energy is modelled, not measured, because its RAPL counter may be read by root alone; \
         `sudo chmod -R a+r /sys/class/powercap/intel-rapl` makes it readable until the next boot (to every user, which \
         is what CVE-2020-8694 warns of).";
    denied.then(|| Recommendation {
        kind: RecommendationKind::UnreadableCounter,
        text: text.to_owned(),
        saves_kg: None,
        basis: Basis::Modelled,
    })
}

fn count(parameters: u64) -> String {
    match parameters as f64 {
        billions @ 1e9.. => format!("{:.1} billion", billions / 1e9),
        millions => format!("{:.1} million", millions / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use greentune_core_config::emissions::{EmissionsProvenance, EmissionsRecord};

    use super::*;
    use crate::reports::aggregate::AggregateEmissions;

    fn row(record: EmissionsRecord, notes: &[&str]) -> StageRow {
        let provenance = EmissionsProvenance {
            format_version: 1,
            meter: String::new(),
            components: vec![],
            carbon_intensity_g_per_kwh: 0.0,
            carbon_intensity_source: String::new(),
            pue: record.pue,
            notes: notes.iter().map(ToString::to_string).collect(),
            attempts: 1,
            ..EmissionsProvenance::default()
        };
        StageRow { stage: 1, file: PathBuf::new(), record, provenance: Some(provenance), shared: None }
    }

    fn ten_kwh(country: &str) -> EmissionsRecord {
        EmissionsRecord {
            country_iso_code: country.into(),
            energy_consumed: 10.0,
            emissions: 3.69,
            pue: 1.0,
            ..EmissionsRecord::default()
        }
    }

    fn advice(rows: &[StageRow], facts: &RunFacts) -> Vec<Recommendation> {
        let mut advice = of(rows, &EquivalenceTable::default(), facts);
        let offset = advice.iter().position(|one| one.kind == RecommendationKind::Offset);
        offset.map(|offset| advice.remove(offset));
        advice
    }

    fn saved(advice: &[Recommendation], kind: RecommendationKind) -> f64 {
        advice.iter().find(|one| one.kind == kind).and_then(|one| one.saves_kg).unwrap()
    }

    #[test]
    fn a_small_or_clean_run_gets_no_advice() {
        let record = EmissionsRecord { emissions: 1e-6, energy_consumed: 1e-5, ..ten_kwh("USA") };
        let facts = RunFacts {
            parameters: Some(7_000_000_000),
            steps_after_best_validation: Some((5, 10)),
            sparse_training: Some(SparseTraining { rate: 0.4, passes: 10.0, warm_up: 2.0 }),
            ..RunFacts::default()
        };
        assert_eq!(of(&[row(record, &[])], &EquivalenceTable::default(), &facts), []);
        let clean = EmissionsRecord { emissions: 0.3, ..ten_kwh("NOR") };
        assert_eq!(advice(&[row(clean, &[])], &RunFacts::default()), []);
    }

    #[test]
    fn a_cleaner_place_is_named_with_its_figure() {
        let at_home = advice(&[row(ten_kwh("USA"), &[])], &RunFacts::default());
        assert_eq!(
            at_home[0].text,
            "The same 10.0 kWh would have emitted 237 g instead of 3.69 kg in United States (vermont) \
              (24 g/kWh, 2023)."
        );
        assert!((saved(&at_home, RecommendationKind::CleanerPlace) - 3.45).abs() < 0.01);
        let abroad = advice(&[row(ten_kwh("POL"), &[])], &RunFacts::default());
        assert_eq!(abroad.len(), 1, "{abroad:#?}");
        assert!(saved(&abroad, RecommendationKind::CleanerPlace) > 3.0, "{abroad:#?}");
    }

    #[test]
    fn hours_steps_and_size_are_computed_from_the_run() {
        let at = |text: &str| text.parse().unwrap();
        let facts = RunFacts {
            parameters: Some(1_480_000_000),
            steps_after_best_validation: Some((300, 1000)),
            sparse_training: Some(SparseTraining { rate: 0.4, passes: 30.0, warm_up: 3.0 }),
            cleaner_hours: Some(CleanerHours {
                start: at("2026-01-02T23:00:00Z"),
                end: at("2026-01-03T05:00:00Z"),
                mean_g_per_kwh: 100.0,
                now_g_per_kwh: 400.0,
                source: "the forecast of example.org for NO".into(),
            }),
            all_runs: Some(AggregateEmissions {
                total_runs: 3,
                total_emissions_kg_co2: 5.69,
                ..AggregateEmissions::default()
            }),
            ..RunFacts::default()
        };
        let advice = advice(&[row(ten_kwh("NOR"), &[])], &facts);
        assert!((saved(&advice, RecommendationKind::CleanerHour) - 0.75 * 3.69).abs() < 1e-9);
        assert!((saved(&advice, RecommendationKind::EarlyStopping) - 0.3 * 3.69).abs() < 1e-9);
        assert!((saved(&advice, RecommendationKind::SmallerModel) - 0.5 * 3.69).abs() < 1e-9);
        assert!((saved(&advice, RecommendationKind::SparseTraining) - 0.54 * 3.69).abs() < 1e-9);
        let text = |kind| advice.iter().find(|one| one.kind == kind).map(|one| one.text.as_str()).unwrap();
        assert!(
            text(RecommendationKind::CleanerHour).contains(
                "2026-01-02 23:00 and 2026-01-03 05:00 UTC the forecast of example.org for NO is 100"
            )
        );
        assert!(
            text(RecommendationKind::SparseTraining).contains("40 % of the samples in 27 of the 30 passes")
        );
        assert!(text(RecommendationKind::SmallerModel).contains("1.5 billion"));
        assert!(text(RecommendationKind::EarlyStopping).contains("300 of 1000"));
        assert!(text(RecommendationKind::Trend).contains("3.7 times the mean of the 2 other"));
        let savings: Vec<f64> = advice.iter().filter_map(|one| one.saves_kg).collect();
        assert!(savings.is_sorted_by(|a, b| a >= b), "{savings:?}");
    }

    #[test]
    fn offsets_are_a_range_and_save_nothing() {
        let advice = of(&[row(ten_kwh("NOR"), &[])], &EquivalenceTable::default(), &RunFacts::default());
        let offset = advice.iter().find(|one| one.kind == RecommendationKind::Offset).unwrap();
        assert!(offset.text.contains("0.00 to 1.11 USD") && offset.saves_kg.is_none(), "{offset:?}");
    }

    #[test]
    fn idle_gpus_overhead_and_denied_counters_are_told() {
        let clean = EmissionsRecord { emissions: 0.3, ..ten_kwh("NOR") };
        let record =
            EmissionsRecord { gpu_energy: 9.0, gpu_utilization_percent: 20.0, pue: 1.5, ..clean.clone() };
        let denied = "RAPL: /sys/class/powercap/intel-rapl:0/energy_uj: Permission denied (os error 13)";
        let told = advice(&[row(record, &[denied])], &RunFacts::default());
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].text.contains("90 %") && told[0].text.contains("20 %"), "{told:#?}");
        assert!((saved(&told, RecommendationKind::IdleGpu) - 0.3 * 0.9 * 0.8).abs() < 1e-9);
        assert!(told[1].text.starts_with("100 g of the 300 g"), "{told:#?}");
        assert!(told[2].text.contains("RAPL"));
        let busy = EmissionsRecord { gpu_energy: 9.0, gpu_utilization_percent: 95.0, ..clean };
        assert_eq!(advice(&[row(busy, &["RAPL: no package domain"])], &RunFacts::default()), []);
    }
}
