//! `run-manifest.json`: read by its format's version, written with paths that travel.

use std::path::Path;

use greentune_core_config::{
    event::{EmissionsSoFar, EventKind, HIGHEST_FIGURE, is_possible},
    layout::RunLayout,
    manifest::{FORMAT_VERSION, RunManifest, StageRecord},
    resolve::beyond_limits,
};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{Result, RunFolderError, json};

/// What every version of the format has.
#[derive(Deserialize)]
struct Header {
    format_version: u32,
    #[serde(default)]
    greentune_version: String,
}

/// Reads the manifest of the run at `layout`, with absolute paths.
///
/// Errors: it cannot be read or understood; a newer version of greentune wrote it ([`RunFolderError::NewerFormat`]).
pub fn read(layout: &RunLayout) -> Result<RunManifest> {
    let path = layout.manifest();
    parse(layout, &path, &json::read_bytes(&path)?)
}

pub(crate) fn parse(layout: &RunLayout, path: &Path, bytes: &[u8]) -> Result<RunManifest> {
    let header: Header = json::parse(path, bytes)?;
    if header.format_version > FORMAT_VERSION {
        return Err(RunFolderError::NewerFormat {
            path: path.to_owned(),
            found: header.format_version,
            written_by: header.greentune_version,
            newest: FORMAT_VERSION,
        });
    }
    let mut manifest: RunManifest = json::parse(path, bytes)?;
    if let Some(reason) = impossible(&manifest) {
        return Err(RunFolderError::Damaged { path: path.to_owned(), reason });
    }
    // A run is called as its folder, whatever the file says: it may have been copied from elsewhere.
    manifest.run_id = layout.run_id();
    let root = layout.project().root();
    manifest.change_paths(|path| {
        *path = if path.as_os_str() == "." { root.to_owned() } else { root.join(&*path) };
    });
    Ok(manifest)
}

/// The first number of `manifest` that no run can have, in words.
fn impossible(manifest: &RunManifest) -> Option<String> {
    if let Some(reason) = beyond_limits(&manifest.settings) {
        return Some(format!("settings.{reason}"));
    }
    let can_be = |stage: &StageRecord| {
        is_possible(stage.duration_seconds.unwrap_or_default())
            && stage.emissions.as_ref().is_none_or(EmissionsSoFar::is_possible)
            && stage.epochs.iter().all(|epoch| EventKind::EpochFinished(epoch.clone()).is_possible())
    };
    let stage = manifest.stages.iter().find(|stage| !can_be(stage))?.stage;
    Some(format!("stage {stage} has a time, an energy or emissions below 0 or above {HIGHEST_FIGURE}"))
}

/// Writes the manifest of the run at `layout`, whole or not at all, and notes the time in it. Paths inside the project are
/// written relative to it.
///
/// Errors: the file cannot be written.
pub fn write(layout: &RunLayout, manifest: &mut RunManifest) -> Result<()> {
    write_in(layout.folder(), layout, manifest)
}

/// As [`write`], into `folder`, which will be the run at `layout`.
pub fn write_in(folder: &Path, layout: &RunLayout, manifest: &mut RunManifest) -> Result<()> {
    manifest.updated_at = Timestamp::now();
    let mut written = RunManifest { format_version: FORMAT_VERSION, ..manifest.clone() };
    let root = layout.project().root();
    written.change_paths(|path| {
        if let Ok(inside) = path.strip_prefix(root) {
            *path = if inside.as_os_str().is_empty() { ".".into() } else { inside.to_owned() };
        }
    });
    // Where settings came from: `FILE:LINE`.
    for source in written.sources.values_mut() {
        if let Ok(inside) = Path::new(source.as_str()).strip_prefix(root) {
            *source = inside.to_string_lossy().into_owned();
        }
    }
    json::write(&folder.join(layout.manifest().file_name().unwrap_or_default()), &written)
}
