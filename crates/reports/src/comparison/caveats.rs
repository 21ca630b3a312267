//! What a reader must know before believing a comparison, each with a stable code.

use std::collections::BTreeSet;

use greentune_core_config::{
    Basis,
    quantities::{self, number, range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    differences::{Difference, PROPERTIES, Property, differences, differing_keys, distinct, listed, metered},
    figures::RunFigures,
    rows::{Metric, is_comparable},
    savings::{Quantities, Quantity, meter_interval, metered_ratio},
};
use crate::statistics::{CONFIDENCE, IntervalSource, mean, paired};

/// Something that limits what a comparison says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caveat {
    /// Stable code `area.reason`.
    pub code: String,
    /// What is the matter, in a sentence.
    pub message: String,
}

/// All caveats of a comparison; without a baseline those of the AST side alone.
pub(super) fn caveats(
    ast: &[RunFigures],
    baseline: &[RunFigures],
    quantities: &Quantities,
    basis: Option<Basis>,
) -> Vec<Caveat> {
    let mut all = roles(ast, baseline);
    if !baseline.is_empty() {
        all.extend(differences(ast, baseline).into_iter().map(of_difference));
        all.extend(settings(ast, baseline));
        all.extend(grid(ast, baseline));
        all.extend(prices(ast, baseline));
        all.extend(seeds(ast, baseline));
        all.extend(accuracy(ast, baseline, quantities));
    }
    all.extend(uneven(ast, "the AST runs"));
    all.extend(uneven(baseline, "the baseline runs"));
    all.extend(energy(ast, baseline, quantities, basis));
    all.extend(runs(ast, baseline));
    all
}

fn caveat(code: &str, message: String) -> Caveat {
    Caveat { code: code.to_owned(), message }
}

/// A side that is not what its column says.
fn roles(ast: &[RunFigures], baseline: &[RunFigures]) -> Vec<Caveat> {
    let dense = ids(ast.iter().filter(|run| run.ast.is_none()));
    let sparse = ids(baseline.iter().filter(|run| run.ast.is_some()));
    let policies: BTreeSet<_> =
        baseline.iter().filter_map(|run| run.ast.as_ref()).map(|ast| ast.policy.as_str()).collect();
    let policies = policies.into_iter().collect::<Vec<_>>().join(" and ");
    let mut all = Vec::new();
    if let Some(dense) = dense {
        all.push(caveat(
            "ast.is_dense",
            format!("{dense} in the column AST trained on all samples (ast.enabled = false)"),
        ));
    }
    if let Some(sparse) = sparse {
        all.push(caveat(
            "baseline.is_ast",
            format!(
                "{sparse} in the column baseline selects samples too (policy {policies}): this is no comparison with \
                 full training"
            ),
        ));
    }
    all
}

fn of_difference(Difference { property, ours, theirs }: Difference) -> Caveat {
    let Property { code, what, so, .. } = property;
    caveat(code, format!("{what}: {ours} (AST), {theirs} (baseline); {so}"))
}

/// Runs of one group that are not repetitions of each other.
fn uneven(group: &[RunFigures], whose: &str) -> Option<Caveat> {
    let of_method = [
        "data.train",
        "data.validation",
        "training.length",
        "training.device",
        "hardware.cpu",
        "hardware.gpu",
    ];
    let uneven: Vec<_> = PROPERTIES
        .iter()
        .filter(|property| of_method.contains(&property.code) && distinct(group, property.of).len() > 1)
        .map(|property| property.what)
        .chain((group.iter().any(|run| run.ast != group[0].ast)).then_some("settings of ast"))
        .chain((!differing_keys(group, group).is_empty()).then_some("settings"))
        .collect();
    (!uneven.is_empty()).then(|| {
        let message =
            format!("{whose} are not repetitions of each other: they differ in {}", uneven.join(", "));
        caveat("group.uneven", message)
    })
}

/// Other settings of training that differ.
fn settings(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<Caveat> {
    let keys = differing_keys(ast, baseline);
    (!keys.is_empty()).then(|| {
        let message = format!(
            "settings that differ: {}; the difference comes from them as well as from the selection",
            keys.into_iter().collect::<Vec<_>>().join(", ")
        );
        caveat("settings.differ", message)
    })
}

/// Carbon intensity and PUE, and what can be said without them.
fn grid(ast: &[RunFigures], baseline: &[RunFigures]) -> Vec<Caveat> {
    let mut all = Vec::new();
    let pue = |run: &RunFigures| metered(run, |meter| format!("{}", meter.pue));
    let (ours, theirs) = (distinct(ast, pue), distinct(baseline, pue));
    if ours != theirs && !ours.is_empty() && !theirs.is_empty() {
        all.push(caveat(
            "carbon.pue",
            format!(
                "PUE: {} (AST), {} (baseline); it is in the rows of energy, CO2 and cost, and not in the energy saving",
                listed(&ours),
                listed(&theirs)
            ),
        ));
    }
    let intensity = |group: &[RunFigures]| {
        mean(&group.iter().filter_map(|run| run.meter.as_ref()?.g_per_kwh()).collect::<Vec<_>>())
    };
    let (Some(ours), Some(theirs)) = (intensity(ast), intensity(baseline)) else { return all };
    if is_comparable(Metric::Emissions, ast, baseline) {
        return all;
    }
    let place = |run: &RunFigures| metered(run, |meter| meter.place.clone());
    let at_one = |group: &[RunFigures]| {
        let kwh = |run: &RunFigures| run.meter.as_ref().map(|meter| meter.energy_kwh / meter.pue * theirs);
        mean(&group.iter().filter_map(kwh).collect::<Vec<_>>()).unwrap_or_default()
    };
    all.push(caveat(
        "carbon.intensity",
        format!(
            "CO2 is not comparable where carbon intensity or PUE differs ({ours:.0} g/kWh in {}, {theirs:.0} g/kWh in {} \
             for the baseline); at the baseline's intensity and without PUE it would be {} g against {} g",
            listed(&distinct(ast, place)),
            listed(&distinct(baseline, place)),
            number(at_one(ast)),
            number(at_one(baseline)),
        ),
    ));
    all
}

fn prices(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<Caveat> {
    let price = |run: &RunFigures| {
        let price = run.price.as_ref()?;
        Some(format!("{} {}", price.per_kwh, price.currency.as_deref().unwrap_or("(currency not named)")))
    };
    let words = |run: &RunFigures| price(run).unwrap_or_else(|| String::from("none"));
    let (ours, theirs) = (distinct(ast, words), distinct(baseline, words));
    (ours != theirs).then(|| {
        let message = format!(
            "price of a kWh: {} (AST), {} (baseline); no saving of cost is named",
            listed(&ours),
            listed(&theirs)
        );
        caveat("cost.price", message)
    })
}

fn seeds(ast: &[RunFigures], baseline: &[RunFigures]) -> Vec<Caveat> {
    let own = |group: &[RunFigures]| group.iter().map(|run| (run.seed, 0.0)).collect::<Vec<_>>();
    let mut all = Vec::new();
    let pairs = paired(&own(ast), &own(baseline)).map(|pairs| pairs.len());
    if pairs.is_none() {
        let seed = |run: &RunFigures| run.seed.to_string();
        all.push(caveat(
            "seeds.differ",
            format!(
                "seeds: {} (AST), {} (baseline); the runs are not paired, and the intervals are wider for it",
                listed(&distinct(ast, seed)),
                listed(&distinct(baseline, seed))
            ),
        ));
    }
    if ast.len().min(baseline.len()) == 1 {
        all.push(caveat(
            "seeds.single",
            String::from(
                "one side has a single seed: the effect of the seed is unknown, so no interval includes it; \
                 use five or more seeds on both sides",
            ),
        ));
    }
    all
}

fn accuracy(ast: &[RunFigures], baseline: &[RunFigures], quantities: &Quantities) -> Vec<Caveat> {
    let Some(difference) = &quantities.accuracy_diff else {
        return vec![caveat(
            "accuracy.missing",
            String::from("a side has no accuracy on validation records"),
        )];
    };
    let records = ast[0].records();
    let mut all = Vec::new();
    if difference.interval_from == Some(IntervalSource::Records) {
        all.push(caveat(
            "accuracy.unpaired_records",
            format!(
                "both were evaluated on the same {records}, but what each got right of them is not kept: the interval \
                 treats them as separate ones and is usually too wide; McNemar's test on the predictions would tell more"
            ),
        ));
    }
    if let Some([low, high]) = difference.interval
        && low <= 0.0
        && high >= 0.0
    {
        let count = ast.len().min(baseline.len());
        let with = if difference.interval_from == Some(IntervalSource::Records) {
            format!("these {records}")
        } else {
            format!("these seeds ({count} a side)")
        };
        all.push(caveat(
            "accuracy.within_interval",
            format!("the difference in accuracy cannot be distinguished from 0 with {with}"),
        ));
    }
    all.extend(worse(difference, quantities));
    all
}

/// AST that is certainly less accurate, with what that bought.
fn worse(difference: &Quantity, quantities: &Quantities) -> Option<Caveat> {
    let is_certain = difference.interval.is_none_or(|[_, high]| high < 0.0);
    if difference.value >= 0.0 || !is_certain {
        return None;
    }
    let saved = quantities.energy_savings.as_ref().map(|saved| match saved.value {
        value if value > 0.0 => format!(", for {} less energy", quantities::percent(value)),
        _ => String::from(", and saved no energy"),
    });
    let message = format!(
        "the AST side is {} points less accurate{}; a baseline of fewer epochs may lose less at the same cost, and more \
         epochs or a higher ast.target_activation_rate lose less too",
        number(-100.0 * difference.value),
        saved.unwrap_or_default()
    );
    Some(caveat("accuracy.below_baseline", message))
}

fn energy(
    ast: &[RunFigures],
    baseline: &[RunFigures],
    quantities: &Quantities,
    basis: Option<Basis>,
) -> Vec<Caveat> {
    let mut all = Vec::new();
    let runs = || ast.iter().chain(baseline);
    if let Some(which) = ids(runs().filter(|run| run.meter.is_none())) {
        let message = format!(
            "{which} has no energy of all stages, so that no saving of energy can be taken from the meters"
        );
        all.push(caveat("energy.unmetered", message));
    }
    if let Some(which) =
        ids(runs().filter(|run| run.meter.as_ref().is_some_and(|m| m.energy_interval.is_none())))
    {
        let message = format!(
            "{which} has no provenance beside its emissions: how its energy was obtained, and its bounds, are unknown"
        );
        all.push(caveat("energy.no_provenance", message));
    }
    let mut shared: Vec<&String> = runs().filter_map(|run| run.meter.as_ref()?.shared.as_ref()).collect();
    shared.dedup();
    all.extend(shared.into_iter().map(|message| caveat("energy.shared_machine", message.clone())));
    match basis {
        Some(Basis::Compute) => all.push(caveat(
            "energy.compute_only",
            String::from(
                "the energy saving is the share of arithmetic that was skipped, a backward pass counted as two forward \
                 passes; a machine does not use energy in proportion to arithmetic",
            ),
        )),
        Some(Basis::Mixed) => all.push(caveat(
            "energy.basis_mixed",
            String::from("part of the energy was read from counters and part modelled; the saving is not called measured"),
        )),
        _ => {}
    }
    let Some(saving) = &quantities.energy_savings else { return all };
    if let Some([low, high]) = saving.interval
        && saving.interval_from != Some(IntervalSource::Meter)
        && low <= 0.0
        && high >= 0.0
    {
        let percent = 100.0 * CONFIDENCE;
        let message = format!(
            "the saving of energy cannot be distinguished from none with these seeds ({percent:.0} %)"
        );
        all.push(caveat("energy.within_interval", message));
    }
    if metered_ratio(ast, baseline).is_some_and(|[low, high]| low <= 1.0 && high >= 1.0) {
        let bounds = |group| {
            meter_interval(group).map_or_else(String::new, |bounds| range(bounds, quantities::energy))
        };
        all.push(caveat(
            "energy.intervals_overlap",
            format!(
                "by the meters' intervals ({} and {}, without PUE) the saving cannot be distinguished from none; on one machine \
                 with one method both err the same way, and less may tell them apart",
                bounds(ast),
                bounds(baseline)
            ),
        ));
    }
    all
}

/// What happened to single runs.
fn runs(ast: &[RunFigures], baseline: &[RunFigures]) -> Vec<Caveat> {
    let runs = || ast.iter().chain(baseline);
    let mut all = Vec::new();
    if let Some(which) = ids(runs().filter(|run| run.is_resumed)) {
        let message = format!(
            "{which} was interrupted and resumed: work that was done twice is in its time and energy, and not in its samples"
        );
        all.push(caveat("run.resumed", message));
    }
    all.extend(runs().flat_map(|run| run.damage.iter().map(move |damage| (run, damage))).map(
        |(run, damage)| {
            let message = format!("the record of {} is damaged: {damage}", run.run_id);
            caveat("run.events_damaged", message)
        },
    ));
    if let Some(which) = ids(runs().filter(|run| run.has_changed_inputs)) {
        let message = format!("data or base model of {which} were changed after the run was configured");
        all.push(caveat("run.inputs_changed", message));
    }
    if let Some(which) = ids(runs().filter(|run| run.meter.as_ref().is_some_and(|meter| meter.has_slept))) {
        let message = format!(
            "the machine slept while {which} trained: sleep may be in its time, and modelled components are taken to draw \
             nothing then"
        );
        all.push(caveat("run.slept", message));
    }
    all
}

fn ids<'a>(runs: impl Iterator<Item = &'a RunFigures>) -> Option<String> {
    let ids: Vec<_> = runs.map(|run| run.run_id.as_str()).collect();
    (!ids.is_empty()).then(|| ids.join(", "))
}
