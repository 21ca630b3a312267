//! SHA-256 of a run's inputs, and whether they are still what the run was configured with.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    Problem, ProblemKind, Suggestion,
    manifest::{ChangedInput, RunManifest},
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{Result, WorkbenchError, base_model::files_of, leftovers::settle_splits};

/// The inputs of `manifest` that training reads and that are not what they were when the run was configured.
///
/// An input that is gone is left to the worker, which says so where it needs it. Records for tests are not read in
/// training.
pub(crate) fn changed(manifest: &RunManifest) -> Result<Vec<ChangedInput>> {
    let accepted_at = Timestamp::now();
    manifest.input_hashes.keys().try_for_each(|path| settle_splits(Path::new(path)))?;
    let is_read = |path: &Path| manifest.data.test.as_deref() != Some(path) || is_trained_on(manifest, path);
    let inputs = manifest.input_hashes.iter().map(|(path, hash)| (PathBuf::from(path), hash));
    let present = inputs.filter(|(path, _)| is_read(path) && path.exists());
    let compared = present.map(|(path, before)| {
        let after = sha256(&path)?;
        Ok((after != *before).then(|| ChangedInput { accepted_at, path, before: before.clone(), after }))
    });
    compared.filter_map(Result::transpose).collect()
}

/// Refuses to compute with other weights or another configuration of the base model than the run was trained on: changed
/// files, and weights that came later and would be read first. Runs from before weights were hashed tell of `config.json`
/// alone.
pub(crate) fn check_weights_are_unchanged(manifest: &RunManifest) -> Result<()> {
    let (folder, hashes) = (&manifest.base_model_path, &manifest.input_hashes);
    let of_base =
        |path: &Path| path.starts_with(folder) && path.extension().is_some_and(|end| end == "safetensors");
    let weights_are_known = hashes.keys().any(|path| of_base(Path::new(path)));
    for path in files_of(folder)? {
        let changed = match hashes.get(&*path.to_string_lossy()) {
            Some(hash) => *hash != sha256(&path)?,
            // Weights that training did not read, where others are known that it read.
            None => weights_are_known,
        };
        if changed {
            return Err(WorkbenchError::BaseModelChanged { path });
        }
    }
    Ok(())
}

/// The same of every file of the base model, its tokenizer too. A base that is gone is left to the worker.
pub(crate) fn check_base_is_unchanged(manifest: &RunManifest) -> Result<()> {
    let folder = &manifest.base_model_path;
    let read = files_of(folder).unwrap_or_default();
    if !read.is_empty() {
        check_weights_are_unchanged(manifest)?;
    }
    let known = manifest.input_hashes.iter().map(|(path, hash)| (PathBuf::from(path), hash));
    for (path, hash) in known.filter(|(path, _)| path.starts_with(folder) && !read.contains(path)) {
        if path.exists() && sha256(&path)? != *hash {
            return Err(WorkbenchError::BaseModelChanged { path });
        }
    }
    Ok(())
}

fn is_trained_on(manifest: &RunManifest, path: &Path) -> bool {
    [1, 2].iter().any(|stage| {
        [manifest.data.train_of(*stage), manifest.data.validation_of(*stage)].iter().any(|used| *used == path)
    })
}

/// Takes the inputs as they are now for those of the run from now on.
pub(crate) fn accept(manifest: &mut RunManifest, changed: Vec<ChangedInput>) {
    for input in &changed {
        manifest.input_hashes.insert(input.path.to_string_lossy().into_owned(), input.after.clone());
    }
    manifest.changed_inputs.extend(changed);
}

/// The refusal to train the run `run_id` on inputs that have changed.
pub(crate) fn refusal(run_id: &str, is_resumed: bool, changed: &[ChangedInput]) -> WorkbenchError {
    let lines = changed.iter().map(|input| {
        let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
        format!(
            "\n  {}: SHA-256 was {}…, is {}…",
            input.path.display(),
            short(&input.before),
            short(&input.after)
        )
    });
    let message = format!(
        "inputs of the run {run_id} are not what it was configured with:{}",
        lines.collect::<String>()
    );
    let operation = if is_resumed { "resume_training" } else { "start_training" };
    let mut problem = Problem::new(ProblemKind::Conflict, "run.inputs_changed", message);
    problem.hint = Some(String::from(
        "put the old content back, or configure a new run, so that a run is one experiment",
    ));
    problem.suggestions = vec![
        Suggestion::new("train on the new content, which the manifest and the card then say", operation)
            .with("run_id", run_id)
            .with("accept_changed_inputs", true),
    ];
    problem.into()
}

/// SHA-256 of the file at `path` in lower-case hexadecimal; of a folder that of its files with their names, in the
/// order of their paths.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    if path.is_dir() { sha256_of_all(path) } else { sha256_of_file(path) }
}

/// SHA-256 of `text`, in lower-case hexadecimal.
pub(crate) fn sha256_of_text(text: &str) -> String {
    let mut hasher = HashWriter(Sha256::new());
    hasher.0.update(text);
    hex(hasher)
}

fn sha256_of_file(path: &Path) -> Result<String> {
    let failed = |action| WorkbenchError::file(action, path);
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut hasher = HashWriter(Sha256::new());
    io::copy(&mut file, &mut hasher).map_err(failed("read"))?;
    Ok(hex(hasher))
}

/// Bytes of a folder's files that are read for its digest; of larger folders names and sizes count alone.
const READ_UP_TO: u64 = 1 << 30;

fn sha256_of_all(path: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(path, &mut files)?;
    files.sort();
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    let mut hasher = HashWriter(Sha256::new());
    for (file, size) in files {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        hasher.0.update(format!("{name}\n{size}\n"));
        if total <= READ_UP_TO {
            let mut content = File::open(&file).map_err(WorkbenchError::file("open", &file))?;
            io::copy(&mut content, &mut hasher).map_err(WorkbenchError::file("read", &file))?;
        }
    }
    Ok(hex(hasher))
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let failed = || WorkbenchError::file("read", folder);
    for entry in fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let metadata = fs::metadata(&path).map_err(WorkbenchError::file("read", &path))?;
        if metadata.is_dir() && !path.is_symlink() {
            collect(&path, files)?;
        } else if metadata.is_file() {
            files.push((path, metadata.len()));
        }
    }
    Ok(())
}

fn hex(hasher: HashWriter) -> String {
    hasher.0.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        // FIPS 180-4, example of SHA-256("abc").
        assert_eq!(
            sha256(file.path()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
