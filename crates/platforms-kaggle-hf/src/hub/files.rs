//! Which files of a model are needed. Pickled weights (`*.bin`, `*.pth`) and other formats are never fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;

use super::error::{HubError, Result};

/// The model's configuration.
pub(super) const CONFIG: &str = "config.json";
/// The tokenizer.
pub(super) const TOKENIZER: &str = "tokenizer.json";
/// Which tensor is in which file of weights.
pub(super) const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// What is fetched beside configuration, tokenizer and weights when the model has it; an export passes it on.
const BESIDE: &[&str] = &[
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "LICENSE",
];

/// Endings of weights that are told of when a model has no others.
const OTHER_WEIGHTS: &[&str] = &[".bin", ".pth", ".pt", ".gguf", ".h5", ".msgpack", ".ckpt", ".onnx"];

/// Which parts of a model are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Configuration, tokenizer and weights.
    All,
    /// Configuration and tokenizer.
    Tokenizer,
}

/// The files of `listing` that are needed besides shards, in the order in which they are fetched.
///
/// Errors: no tokenizer, or no safetensors where weights are needed.
pub(super) fn needed(id: &str, listing: &[String], parts: Parts) -> Result<Vec<String>> {
    let has = |name: &str| listing.iter().any(|listed| listed == name);
    if !has(TOKENIZER) {
        return Err(HubError::FileMissing { id: id.to_owned(), file: TOKENIZER.to_owned() });
    }
    let mut files = vec![TOKENIZER.to_owned()];
    files.extend(BESIDE.iter().filter(|name| has(name)).map(|name| (*name).to_owned()));
    if parts == Parts::All {
        files.extend(weights(id, listing)?);
    }
    Ok(files)
}

/// The one file of weights, or the index. Where both are there transformers takes the one file.
fn weights(id: &str, listing: &[String]) -> Result<Option<String>> {
    let has = |name: &str| listing.iter().any(|listed| listed == name);
    if let Some(name) = [SINGLE, INDEX].into_iter().find(|name| has(name)) {
        return Ok(Some(name.to_owned()));
    }
    let is_other = |name: &&String| OTHER_WEIGHTS.iter().any(|ending| name.ends_with(ending));
    let others =
        listing.iter().filter(|name| is_other(name) || is_safetensors(name)).take(3).cloned().collect();
    Err(HubError::NoSafetensors { id: id.to_owned(), others })
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files of weights that the index at `path` names. A name must be one of the model's top folder.
pub(super) fn shards(path: &Path) -> Result<BTreeSet<String>> {
    let bad = |reason: String| HubError::BadAnswer { url: path.display().to_string(), reason };
    let text = fs::read_to_string(path).map_err(HubError::file("read", path))?;
    let index: Index = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let shards: BTreeSet<_> = index.weight_map.into_values().collect();
    match shards.iter().find(|name| !is_safetensors(name) || !is_plain(name)) {
        Some(name) => Err(bad(format!("it names the file of weights {name:?}"))),
        None if shards.is_empty() => Err(bad(String::from("it names no weights"))),
        None => Ok(shards),
    }
}

fn is_safetensors(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "safetensors")
}

/// Whether `name` names a file in a folder, and not a way out of it.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-+@ ".contains(character))
}

/// Whether `folder` has everything that `parts` needs.
pub(super) fn is_complete(folder: &Path, parts: Parts) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let has_weights = || {
        has(SINGLE)
            || has(INDEX)
                && shards(&folder.join(INDEX)).is_ok_and(|shards| shards.iter().all(|name| has(name)))
    };
    has(CONFIG) && has(TOKENIZER) && (parts == Parts::Tokenizer || has_weights())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn weights_are_the_single_file_or_the_index_and_never_pickles() {
        let mut all = listing(&[
            "README.md",
            "config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "model.gguf",
            "original/consolidated.pth",
        ]);
        let files = needed("a/b", &all, Parts::All).unwrap();
        assert_eq!(files, ["tokenizer.json", "chat_template.jinja", "model.safetensors"]);
        all.retain(|name| name != "model.safetensors");
        let files = needed("a/b", &all, Parts::All).unwrap();
        assert_eq!(files, ["tokenizer.json", "chat_template.jinja", "model.safetensors.index.json"]);
        let files = needed("a/b", &all, Parts::Tokenizer).unwrap();
        assert_eq!(files, ["tokenizer.json", "chat_template.jinja"]);
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        let pickled = listing(&["config.json", "tokenizer.json", "pytorch_model.bin"]);
        let error = needed("a/b", &pickled, Parts::All).unwrap_err();
        assert_eq!(error.to_string(), "a/b has no *.safetensors weights, only pytorch_model.bin");
        let error = needed("a/b", &listing(&["config.json"]), Parts::Tokenizer).unwrap_err();
        assert_eq!(error.to_string(), "a/b has no tokenizer.json");
    }

    #[test]
    fn an_index_cannot_lead_out_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INDEX);
        for (name, fine) in [
            ("model-00001-of-00002.safetensors", true),
            ("../../other.safetensors", false),
            ("/etc/x.safetensors", false),
            ("a\\\\b.safetensors", false),
            ("pickle.bin", false),
        ] {
            fs::write(&path, format!("{{\"weight_map\":{{\"w\":\"{name}\"}}}}")).unwrap();
            assert_eq!(shards(&path).is_ok(), fine, "{name}");
        }
        fs::write(&path, "{}").unwrap();
        assert!(shards(&path).is_err());
    }
}
