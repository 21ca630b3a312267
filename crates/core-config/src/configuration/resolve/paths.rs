//! `~` and relative paths in settings, by their text alone: nothing is looked up on disk.

use std::path::{Component, Path, PathBuf};

use super::{Layers, Source, reading::Reading};
use crate::{Problem, ProblemKind, settings::Settings};

/// Settings that are paths.
const PATHS: [&str; 4] =
    ["base_model.local_path", "vision.pretrained", "carbon.calibration_file", "carbon.equivalences_file"];

/// Whether the setting `key` is a path.
pub fn is_path(key: &str) -> bool {
    PATHS.contains(&key)
}

/// Makes the paths in `settings` start from the home folder or the project's.
pub(super) fn absolute(settings: &mut Settings, layers: &Layers, reading: &Reading) -> Result<(), Problem> {
    let Settings { base_model, carbon, .. } = settings;
    for (key, path) in [
        ("base_model.local_path", &mut base_model.local_path),
        ("carbon.calibration_file", &mut carbon.calibration_file),
        ("carbon.equivalences_file", &mut carbon.equivalences_file),
    ] {
        if let Some(path) = path {
            *path = absolute_path(key, path, layers, reading)?;
        }
    }
    Ok(())
}

fn absolute_path(key: &str, path: &Path, layers: &Layers, reading: &Reading) -> Result<PathBuf, Problem> {
    let absolute = match (path.strip_prefix("~"), &layers.home, &layers.project_root) {
        (Ok(rest), Some(home), _) => home.join(rest),
        (Ok(_), None, _) => return Err(no_home(key, path, reading)),
        (Err(_), _, Some(root)) => root.join(path),
        (Err(_), _, None) => path.to_owned(),
    };
    Ok(without_dots(&absolute))
}

fn no_home(key: &str, path: &Path, reading: &Reading) -> Problem {
    let source = reading.values.get(key).map_or(&Source::BuiltIn, |(_, source)| source);
    let message =
        format!("found {}, but no home folder is known here; allowed: a path without `~`", path.display());
    Problem::new(ProblemKind::InvalidInput, "config.out_of_range", message).at(source.location(key))
}

/// `path` without `.`, and without each `..` that follows a name.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match (component, clean.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                clean.pop();
            }
            _ => clean.push(component),
        }
    }
    if clean.as_os_str().is_empty() { PathBuf::from(".") } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_taken_out_by_the_text_alone() {
        for (path, clean) in [
            ("/a/./b/../c", "/a/c"),
            ("/../a", "/a"),
            ("a/..", "."),
            ("../a", "../a"),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
        ] {
            assert_eq!(without_dots(Path::new(path)), Path::new(clean), "{path}");
        }
    }
}
