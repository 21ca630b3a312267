//! What differs between runs that are set beside each other: the one list of it, for comparisons and for cards.

use std::collections::BTreeSet;

use greentune_core_config::emissions::MeteredProperty;

use super::figures::{Metered, RunFigures};

/// A property that should be the same on both sides.
pub(crate) struct Property {
    /// Code of its caveat.
    pub code: &'static str,
    /// What it is called.
    pub what: &'static str,
    /// Its value in a run; empty where it is not known.
    pub of: fn(&RunFigures) -> String,
    /// What follows for a comparison when it is not the same.
    pub so: &'static str,
}

/// The properties that should be the same in all runs of a comparison.
pub(crate) static PROPERTIES: [Property; 12] = [
    Property {
        code: "data.train",
        what: "training data",
        of: |run| named(&run.train_data),
        so: "the difference comes from the data as well as from the method",
    },
    Property {
        code: "data.validation",
        what: "validation data",
        of: |run| named(&run.validation_data),
        so: "accuracy and loss are computed on different records",
    },
    Property {
        code: "evaluation.records",
        what: "validation records evaluated",
        of: |run| run.evaluated.map_or_else(String::new, |records| records.to_string()),
        so: "accuracy and loss are computed on different records",
    },
    Property {
        code: "training.length",
        what: "length of training",
        of: |run| run.length.clone(),
        so: "the shorter run saves because it is shorter",
    },
    Property {
        code: "training.device",
        what: "device",
        of: |run| run.device.clone(),
        so: "differences in time and energy come from the devices as well as from the method",
    },
    Property {
        code: "hardware.cpu",
        what: MeteredProperty::PROCESSOR.name,
        of: |run| metered(run, |meter| meter.cpu.clone()),
        so: "differences in time and energy come from the machines as well as from the method",
    },
    Property {
        code: "hardware.gpu",
        what: MeteredProperty::GPU.name,
        of: |run| {
            metered(run, |meter| if meter.gpu.is_empty() { String::from("none") } else { meter.gpu.clone() })
        },
        so: "differences in time and energy come from the machines as well as from the method",
    },
    Property {
        code: "meter.tracking_mode",
        what: MeteredProperty::TRACKING_MODE.name,
        of: |run| metered(run, |meter| meter.tracking_mode.clone()),
        so: "one side's energy is the machine's and the other's a process's share",
    },
    Property {
        code: "meter.version",
        what: MeteredProperty::METER.name,
        of: |run| metered(run, |meter| meter.meter.clone()),
        so: "the energies may have been obtained in different ways",
    },
    Property {
        code: "energy.basis_differs",
        what: "basis of the energy",
        of: |run| metered(run, |meter| meter.basis.to_string()),
        so: "the saving is not called measured, because one side is not",
    },
    Property {
        code: "code.version",
        what: "version of greentune",
        of: |run| run.greentune_version.clone(),
        so: "the difference may come from the versions",
    },
    Property {
        code: "code.revision",
        what: "git revision of the project",
        of: |run| run.git_revision.chars().take(12).collect(),
        so: "the difference may come from what changed between them",
    },
];

/// A property that is not the same on both sides.
pub(crate) struct Difference {
    /// Which property.
    pub property: &'static Property,
    /// Its values here, in words.
    pub ours: String,
    /// Its values on the other side, in words.
    pub theirs: String,
}

/// The properties that differ between two groups of runs. What is not known of a side is no difference.
pub(crate) fn differences(ours: &[RunFigures], theirs: &[RunFigures]) -> Vec<Difference> {
    let difference = |property: &'static Property| {
        let (ours, theirs) = (distinct(ours, property.of), distinct(theirs, property.of));
        (ours != theirs && !ours.is_empty() && !theirs.is_empty()).then(|| Difference {
            property,
            ours: listed(&ours),
            theirs: listed(&theirs),
        })
    };
    PROPERTIES.iter().filter_map(difference).collect()
}

/// Keys of the settings that differ between a run of one group and one of the other.
pub(crate) fn differing_keys<'a>(ast: &'a [RunFigures], baseline: &'a [RunFigures]) -> BTreeSet<&'a str> {
    let pairs = ast.iter().flat_map(|a| baseline.iter().map(move |b| (a, b)));
    let keys = pairs.flat_map(|(a, b)| {
        a.settings
            .iter()
            .filter(|(key, value)| b.settings.get(*key) != Some(*value))
            .map(|(key, _)| key.as_str())
    });
    keys.collect()
}

/// A property of how a run was metered; empty where it was not.
pub(crate) fn metered(run: &RunFigures, of: impl Fn(&Metered) -> String) -> String {
    run.meter.as_ref().map(of).unwrap_or_default()
}

/// The values of a group, each once; what is not known is no value.
pub(crate) fn distinct(group: &[RunFigures], of: impl Fn(&RunFigures) -> String) -> BTreeSet<String> {
    group.iter().map(of).filter(|value| !value.is_empty()).collect()
}

/// Values in words.
pub(crate) fn listed(values: &BTreeSet<String>) -> String {
    if values.is_empty() {
        return String::from("not known");
    }
    values.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

/// Hashes cut to what a reader can compare; paths as they are.
fn named(data: &str) -> String {
    let is_hash = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let word = |word| if is_hash(word) { format!("sha256 {}", &word[..12]) } else { word.to_owned() };
    data.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
