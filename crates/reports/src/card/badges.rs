//! Badges, and the rules by which a run earns them. docs/model-cards.md shows the same table.

use greentune_core_config::{
    Basis,
    manifest::RunStatus,
    quantities::{mass, percent},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Subject;

/// Something that a run has earned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Badge {
    /// Its name, such as `energy-efficient`.
    pub name: String,
    /// What it takes.
    pub rule: String,
    /// Why the run earned it, with the basis.
    pub because: String,
}

/// A badge and its rule.
struct Rule {
    name: &'static str,
    /// The condition.
    needs: &'static str,
    /// Why the run earned it; `None` where it did not.
    earned: fn(&Subject) -> Option<String>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "ast-trained",
        needs: "Selection by a policy other than `full` and `random` was on, and stage 2 is completed with an activation rate below 1.",
        earned: ast_trained,
    },
    Rule {
        name: "energy-measured",
        needs: "Every trained stage was metered, all of its energy was read from hardware counters, and no other run was metered on its machine at the same time.",
        earned: energy_measured,
    },
    Rule {
        name: "energy-efficient",
        needs: "A baseline run of the same model on the same data was named, both were metered, neither beside another run on its machine, and the lower bound of the saving is above 0.",
        earned: energy_efficient,
    },
    Rule {
        name: "carbon-reported",
        needs: "Every trained stage was metered, with the source of the carbon intensity.",
        earned: carbon_reported,
    },
    Rule {
        name: "reproducible",
        needs: "Seed, settings and the SHA-256 of every input are recorded, no input was changed after the run was configured, and the project's git revision, without changes since where that is recorded.",
        earned: reproducible,
    },
];

/// The badges that the run has earned, in the rules' order.
pub(super) fn earned(subject: &Subject) -> Vec<Badge> {
    let badge = |rule: &Rule| {
        let because = (rule.earned)(subject)?;
        Some(Badge { name: rule.name.to_owned(), rule: rule.needs.to_owned(), because })
    };
    RULES.iter().filter_map(badge).collect()
}

fn ast_trained(subject: &Subject) -> Option<String> {
    let second = subject.trained.iter().find(|stage| stage.stage == 2)?;
    let selection = second.selection.as_ref()?;
    let (rate, unit) = (selection.activation_rate(), selection.unit.noun());
    let policy = subject.manifest().settings.ast.policy;
    (subject.is_adaptive() && second.status == RunStatus::Completed && rate < 1.0)
        .then(|| format!("policy {policy}, {} of the sparse phase's {unit} trained on", percent(rate)))
}

fn energy_measured(subject: &Subject) -> Option<String> {
    let total = subject.energy.whole()?;
    (total.basis == Basis::Measured && subject.energy.shared.is_none())
        .then(|| String::from("energy read from hardware counters in every stage"))
}

fn energy_efficient(subject: &Subject) -> Option<String> {
    let comparison = subject.comparison?;
    let saving = comparison.saving.as_ref().filter(|saving| saving.basis != Basis::Compute)?;
    let [lower, _] = saving.range?;
    let is_of_runs_alone = subject.energy.shared.is_none() && !comparison.baseline.shared_its_machine;
    (lower > 0.0 && is_of_runs_alone).then(|| {
        format!(
            "at least {} less energy than {} ({})",
            percent(lower),
            comparison.baseline.run_id,
            saving.basis.as_str()
        )
    })
}

fn carbon_reported(subject: &Subject) -> Option<String> {
    let total = subject.energy.whole()?;
    let has_source = subject.energy.stages.iter().all(|stage| {
        stage.provenance.as_ref().is_some_and(|known| !known.carbon_intensity_source.is_empty())
    });
    let beside =
        subject.energy.shared.as_ref().map_or("", |_| ", of a machine on which other runs were metered too");
    has_source.then(|| format!("{} CO2-equivalent, energy {}{beside}", mass(total.kg), total.basis))
}

fn reproducible(subject: &Subject) -> Option<String> {
    let manifest = subject.manifest();
    let revision = manifest.git_revision.as_deref().filter(|revision| !revision.ends_with("-dirty"))?;
    let inputs = super::inputs::inputs(manifest);
    let complete = !inputs.is_empty()
        && manifest.changed_inputs.is_empty()
        && inputs.iter().all(|input| input.sha256.is_some());
    complete.then(|| {
        format!(
            "seed {}, settings, SHA-256 of inputs, git revision {revision}",
            manifest.settings.training.seed
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_shows_every_rule_as_it_is() {
        let guide = include_str!("../../../../docs/model-cards.md");
        for rule in RULES {
            let row = format!("| `{}` | {} |", rule.name, rule.needs);
            assert!(guide.contains(&row), "docs/model-cards.md lacks the row\n{row}");
        }
    }
}
