//! `~` and relative paths in settings, by their text alone: nothing is looked up on disk.

use std::path::{Component, Path, PathBuf};

use super::{Layers, Source, reading::Reading};
use crate::{Problem, ProblemKind, settings::Settings};

const KEY: &str = "base_model.local_path";

/// Makes the paths in `settings` start from the home folder or the project's.
pub(super) fn absolute(settings: &mut Settings, layers: &Layers, reading: &Reading) -> Result<(), Problem> {
    let Some(path) = settings.base_model.local_path.take() else { return Ok(()) };
    let absolute = match (path.strip_prefix("~"), &layers.home, &layers.project_root) {
        (Ok(rest), Some(home), _) => home.join(rest),
        (Ok(_), None, _) => return Err(no_home(&path, reading)),
        (Err(_), _, Some(root)) => root.join(path),
        (Err(_), _, None) => path,
    };
    settings.base_model.local_path = Some(without_dots(&absolute));
    Ok(())
}

fn no_home(path: &Path, reading: &Reading) -> Problem {
    let source = reading.values.get(KEY).map_or(&Source::BuiltIn, |(_, source)| source);
    let message =
        format!("found {}, but no home folder is known here; allowed: a path without `~`", path.display());
    Problem::new(ProblemKind::InvalidInput, "config.out_of_range", message).at(source.location(KEY))
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
