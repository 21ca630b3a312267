//! What a run was made from.

use std::path::Path;

use greentune_core_config::manifest::{ChangedInput, RunManifest};
use serde::Serialize;

/// What the run was made from, in the manifest's order: data sets, then the weights or configuration that it began with.
pub(super) fn inputs(manifest: &RunManifest) -> Vec<Input> {
    let data = &manifest.data;
    let base = match &manifest.settings.vision.model {
        Some(_) => manifest.base_model_path.clone(),
        None => manifest.base_model_path.join("config.json"),
    };
    let files = [
        ("training data", Some(&data.train)),
        ("validation data", Some(&data.validation)),
        ("test data", data.test.as_ref()),
        ("training data of stage 2", data.stage2_train.as_ref()),
        ("validation data of stage 2", data.stage2_validation.as_ref()),
        ("base model", Some(&base)),
    ];
    let named = files.into_iter().filter_map(|(role, path)| Some((role, path?)));
    named
        .filter(|(_, path)| !path.as_os_str().is_empty())
        .map(|(role, path)| Input {
            role,
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: manifest.input_hashes.get(&*path.to_string_lossy()).cloned(),
        })
        .collect()
}

/// The inputs that were changed after the run was configured, a sentence each.
pub(super) fn changed_inputs(manifest: &RunManifest) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sentence = |input: &ChangedInput| {
        let day = input.accepted_at.strftime("%Y-%m-%d");
        let ChangedInput { path, before, .. } = input;
        format!(
            "{} was changed before {day}, when training went on with it; its SHA-256 was {before}.",
            name(path)
        )
    };
    manifest.changed_inputs.iter().map(sentence).collect()
}

/// Something that the run was made from.
#[derive(Debug, Serialize)]
pub(super) struct Input {
    pub role: &'static str,
    pub name: String,
    pub sha256: Option<String>,
}

/// A data set's name: its last folder or file that does not only say which part it is.
pub(super) fn data_name(path: &Path) -> String {
    const PARTS: &[&str] = &["train", "training", "val", "valid", "validation", "test"];
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let last = name(path);
    match path.parent() {
        Some(parent) if PARTS.contains(&last.as_str()) && parent.file_name().is_some() => name(parent),
        _ => last,
    }
}
