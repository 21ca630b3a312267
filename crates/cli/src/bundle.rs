//! What the demo brings along: a small base model, and data for two stages.

use std::{fs, io::BufRead, path::Path};

use greentune_core_config::Problem;

/// Folder of the base model, relative to the project.
pub const BASE_MODEL_FOLDER: &str = "models/base";
/// Folder of the data sets, relative to the project.
pub const DATA_FOLDER: &str = "data/processed";

/// A file and its content.
type BundledFile = (&'static str, &'static [u8]);

macro_rules! bundled {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $folder, "/", $name)))),*]
    };
}

const BASE_MODEL: &[BundledFile] = bundled!("base-model":
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
);

const DATA: &[BundledFile] = bundled!("demo":
    "general_train.jsonl",
    "general_validation.jsonl",
    "narratives_test.jsonl",
    "narratives_train.jsonl",
    "narratives_validation.jsonl",
);

/// Writes base model and data into `project`; returns how many records the data has.
pub fn unpack(project: &Path) -> Result<u64, Problem> {
    unpack_into(&project.join(BASE_MODEL_FOLDER), BASE_MODEL)?;
    unpack_into(&project.join(DATA_FOLDER), DATA)?;
    // A record is a line.
    Ok(DATA.iter().map(|(_, content)| content.lines().count()).sum::<usize>() as u64)
}

fn unpack_into(folder: &Path, files: &[BundledFile]) -> Result<(), Problem> {
    fs::create_dir_all(folder).map_err(|error| not_written(folder, &error))?;
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|error| not_written(&path, &error))?;
    }
    Ok(())
}

fn not_written(path: &Path, error: &std::io::Error) -> Problem {
    let message = format!("cannot write {}: {error}", path.display());
    Problem::of_file(error, message)
        .with_hint("choose a folder that can be written, with 20 MB free, by --dir")
}
