//! What the Hugging Face Hub reads as a result of a model: `.eval_results/NAME.yaml` of the model's repository
//! (<https://huggingface.co/docs/hub/eval-results>).

use std::path::{Component, Path};

use greentune_core_config::ids::check_model_id;
use jiff::Timestamp;
use serde_json::json;

/// A data set of the Hub, as it lies in the Hub's cache: `datasets--OWNER--NAME/snapshots/REVISION/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubDataset {
    id: String,
    revision: Option<String>,
}

impl HubDataset {
    /// The data set that `path` belongs to; `None` for any other place, whose id is not known.
    pub fn of(path: &Path) -> Option<Self> {
        let parts: Vec<&str> = path
            .components()
            .filter_map(|part| if let Component::Normal(name) = part { name.to_str() } else { None })
            .collect();
        let at = parts.iter().position(|part| part.starts_with("datasets--"))?;
        let id = parts[at].strip_prefix("datasets--")?.replacen("--", "/", 1);
        check_model_id(&id).ok()?;
        let revision = match parts[at + 1..] {
            ["snapshots", revision, ..] if is_commit(revision) => Some(revision.to_owned()),
            _ => None,
        };
        Some(Self { id, revision })
    }

    /// The file's text: one result, with `notes` on how it was got. Quoted as JSON, which YAML reads as it is.
    ///
    /// The task of a benchmark is not known to greentune: it is `default`, to be changed where the benchmark has several.
    pub fn result(&self, value: f64, at: Timestamp, notes: &str) -> String {
        let quoted = |text: &str| json!(text).to_string();
        let revision = self.revision.as_ref().map(|commit| format!("    revision: {}\n", quoted(commit)));
        format!(
            "- dataset:\n    id: {}\n    task_id: default\n{}  value: {value}\n  date: {}\n  notes: {}\n",
            quoted(&self.id),
            revision.unwrap_or_default(),
            quoted(&at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            quoted(notes),
        )
    }
}

fn is_commit(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_names_the_hubs_data_set_and_its_commit() {
        let commit = "5503434ddd753f426f4b38109466949a1217c2bb";
        let path = format!("/home/x/hub/datasets--allenai--ai2_arc/snapshots/{commit}/ARC-Easy/test.parquet");
        let dataset = HubDataset::of(Path::new(&path)).unwrap();
        let at = "2026-11-28T11:00:00.5Z".parse().unwrap();
        // `.ci/interop-light` has huggingface_hub read the same file.
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/interop/eval_results.yaml");
        let expected = std::fs::read_to_string(fixture).unwrap();
        assert_eq!(dataset.result(0.25, at, "acc: \"raw\" – 25.0 %"), expected);
    }

    #[test]
    fn other_places_have_no_id() {
        for path in ["/data/test.jsonl", "/hub/datasets--a b--c/snapshots/x/t.jsonl", "/hub/models--a--b/x"] {
            assert_eq!(HubDataset::of(Path::new(path)), None, "{path}");
        }
    }
}
