//! The skill in a client's own folder of skills.

use std::path::{Path, PathBuf};

use greentune_core_config::ProblemKind;
use greentune_mcp_server::{SKILL, skill_digest};

use super::edit::{Edit, Former};
use crate::failure::Failure;

/// Where the skill lies in a folder of skills.
const FILE: &str = "greentune/SKILL.md";
/// The beginning of the last line, which says what stands above it. The file is greentune's as long as that is true.
const MARK: &str = "<!-- written by greentune mcp install, which replaces it unless it was changed; ";

/// What becomes of the skill in `folder`: it is written there, or when it `goes` taken away. None when nothing changes.
///
/// Errors: a file is there that greentune did not write, or that was changed since.
pub fn edit(folder: &Path, root: Option<&Path>, goes: bool) -> Result<Option<Edit>, Failure> {
    let former = Former::look(folder.join(FILE), root)?;
    if former.is_there() && !is_greentunes(former.text()) {
        return Err(not_greentunes(&former.path));
    }
    let text = (!goes).then(marked);
    let stays = if goes { !former.is_there() } else { text.as_deref() == Some(former.text()) };
    Ok((!stays).then_some(Edit { former, text, is_backed_up: false }))
}

/// Where the skill is in `folder`.
pub fn path_in(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn marked() -> String {
    format!("{SKILL}{MARK}{} -->\n", skill_digest(SKILL))
}

fn is_greentunes(text: &str) -> bool {
    text.split_once(MARK)
        .is_some_and(|(above, rest)| rest.trim_end() == format!("{} -->", skill_digest(above)))
}

fn not_greentunes(path: &Path) -> Failure {
    let message =
        format!("{} is not replaced: greentune did not write it, or it was changed since", path.display());
    Failure::new(ProblemKind::Conflict, "path.not_greentunes", message)
        .with_hint("rename it and try again, or leave `--skill` out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_and_not_changed_is_greentunes() {
        let written = marked();
        assert!(is_greentunes(&written));
        // What an earlier version wrote says something else, and is greentune's too.
        let earlier = format!("older text\n{MARK}{} -->\n", skill_digest("older text\n"));
        assert!(is_greentunes(&earlier));
        assert!(!is_greentunes(&written.replacen("greentune", "redtune", 1)));
        assert!(!is_greentunes(&format!("{written}More advice.\n")));
        assert!(!is_greentunes(SKILL) && !is_greentunes(""));
    }
}
