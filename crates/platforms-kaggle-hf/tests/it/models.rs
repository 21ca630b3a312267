//! What is fetched, where it lies, and what is not fetched again.

use std::fs;

use greentune_core_config::Diagnostic;
use greentune_platforms_kaggle_hf::hub::{FetchModel, Parts, cached};
use greentune_test_support::fake_hub::Behaviour;

use crate::place::{Ear, ID, Place, fixture};

#[test]
fn a_model_lies_in_the_cache_as_the_python_client_lays_it_out() {
    let place = Place::new();
    let snapshot = place.fetch().unwrap();
    let commit = place.hub.commit();
    assert_eq!(snapshot.commit, commit);
    assert_eq!(snapshot.folder, place.model().join("snapshots").join(&commit));
    assert_eq!(fs::read_to_string(place.model().join("refs/main")).unwrap(), commit);
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "model.safetensors",
    ] {
        let here = fs::read(snapshot.folder.join(name)).unwrap();
        assert!(here == fs::read(fixture("base-model").join(name)).unwrap(), "{name}");
        #[cfg(unix)]
        assert!(fs::read_link(snapshot.folder.join(name)).unwrap().starts_with("../../blobs"), "{name}");
    }
    assert!(
        !snapshot.folder.join("README.md").exists() && !snapshot.folder.join("train_tokenizer.py").exists()
    );
    assert_eq!(place.incomplete(), None);
    let fetched: u64 = fs::read_dir(place.model().join("blobs"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(snapshot.downloaded_bytes, fetched);
}

#[test]
fn what_is_here_is_not_fetched_again_and_needs_no_network() {
    let mut place = Place::new();
    let first = place.fetch().unwrap();
    let before = place.hub.downloads().len();
    let again = place.fetch().unwrap();
    assert_eq!((again.folder, again.downloaded_bytes, again.lookup_problem), (first.folder.clone(), 0, None));
    assert_eq!(place.hub.downloads().len(), before);

    place.hub.behave(Behaviour::Fails(503));
    assert!(place.fetch().unwrap().lookup_problem.unwrap().contains("503"));
    place.settings.endpoint = "http://127.0.0.1:9".into();
    let unreachable = place.fetch().unwrap();
    assert!(unreachable.lookup_problem.unwrap().starts_with("cannot reach http://127.0.0.1:9"));
    // A commit cannot change, so that nobody is asked.
    assert_eq!(place.fetch_at(&first.commit, &Ear::default()).unwrap().lookup_problem, None);
    place.settings.offline = true;
    assert_eq!(place.fetch().unwrap().lookup_problem, None);
}

#[test]
fn offline_and_not_in_the_cache_says_so() {
    let mut place = Place::new();
    place.settings.offline = true;
    let problem = place.refused();
    assert_eq!(problem.code, "hub.offline");
    assert_eq!(place.hub.requests(), []);
    // Half a model is none.
    place.settings.offline = false;
    place.fetch().unwrap();
    fs::remove_file(place.model().join("snapshots").join(place.hub.commit()).join("model.safetensors"))
        .unwrap();
    place.settings.offline = true;
    assert_eq!(place.refused().code, "hub.offline");
    let tokenizer = FetchModel { id: ID, revision: "main", parts: Parts::Tokenizer };
    assert!(cached(&place.settings, tokenizer).is_some());
}

#[test]
fn content_that_is_here_is_only_linked() {
    let place = Place::new();
    let snapshot = place.fetch().unwrap();
    fs::remove_dir_all(&snapshot.folder).unwrap();
    let before = place.hub.downloads().len();
    assert_eq!(place.fetch().unwrap().downloaded_bytes, 0);
    assert_eq!(place.hub.downloads().len(), before);
    // A pointer to content that is gone is mended.
    fs::remove_file(fs::canonicalize(snapshot.folder.join("config.json")).unwrap()).unwrap();
    assert!(place.fetch().unwrap().downloaded_bytes > 0);
}

#[test]
fn shards_are_those_that_the_index_names() {
    let place = Place::serving(&sharded());
    let folder = place.fetch().unwrap().folder;
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_model_without_safetensors_or_with_an_impossible_id_is_refused_before_anything_large() {
    let other = tempfile::tempdir().unwrap();
    for (name, text) in [("config.json", "{}"), ("tokenizer.json", "{}"), ("pytorch_model.bin", "x")] {
        fs::write(other.path().join(name), text).unwrap();
    }
    let place = Place::serving(other.path());
    let problem = place.refused();
    assert_eq!(problem.code, "hub.no_safetensors");
    assert!(problem.message.contains("pytorch_model.bin"), "{problem}");
    assert!(place.hub.downloads().iter().all(|request| !request.path.contains(".bin")));

    let before = place.hub.requests().len();
    for revision in ["../main", "a b", ""] {
        assert_eq!(place.fetch_at(revision, &Ear::default()).unwrap_err().problem().code, "model.revision");
    }
    assert_eq!(place.hub.requests().len(), before);
}

#[test]
fn progress_goes_up_to_the_total() {
    let place = Place::new();
    let ear = Ear::default();
    place.fetch_at("main", &ear).unwrap();
    let told = ear.told.into_inner().unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.what.as_str(), last.bytes_done), (ID, last.bytes_total));
    let weights: Vec<_> =
        told.iter().filter(|at| at.file == "model.safetensors").map(|at| at.bytes_done).collect();
    assert!(weights.len() > 4 && weights.is_sorted(), "{weights:?}");
}

/// A model whose weights are two files behind an index, with files beside that nobody needs.
fn sharded() -> std::path::PathBuf {
    let folder = tempfile::tempdir().unwrap().keep();
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let index = format!("{{\"weight_map\":{{\"a\":{:?},\"b\":{:?}}}}}", shards[0], shards[1]);
    fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    for name in shards.iter().copied().chain([
        "config.json",
        "tokenizer.json",
        "other.safetensors",
        "pytorch_model.bin",
    ]) {
        fs::write(folder.join(name), format!("the content of {name}")).unwrap();
    }
    folder
}
