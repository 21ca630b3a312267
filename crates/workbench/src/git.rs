//! The git revision of a folder, read from `.git` without starting git.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The commit that is checked out around `folder`; `None` when there is none or it cannot be read.
pub(crate) fn revision(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|ancestor| ancestor.join(".git")).find(|git| git.exists())?;
    let git = if git.is_file() { linked_folder(&git)? } else { git };
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    match head.trim().strip_prefix("ref: ") {
        None => commit(head.trim()),
        Some(name) => {
            let common = common_folder(&git);
            [&git, &common]
                .into_iter()
                .find_map(|root| commit(fs::read_to_string(root.join(name)).ok()?.trim()))
                .or_else(|| packed(&common, name))
        }
    }
}

/// The folder that a `.git` file of a worktree or submodule points to.
fn linked_folder(git: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(git).ok()?;
    Some(git.parent()?.join(text.trim().strip_prefix("gitdir: ")?))
}

fn common_folder(git: &Path) -> PathBuf {
    fs::read_to_string(git.join("commondir"))
        .map_or_else(|_| git.to_owned(), |common| git.join(common.trim()))
}

fn packed(git: &Path, name: &str) -> Option<String> {
    let refs = fs::read_to_string(git.join("packed-refs")).ok()?;
    refs.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').and_then(commit))
}

fn commit(text: &str) -> Option<String> {
    (text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "c8a3eb0d5f1e4b6a7c8d9e0f1a2b3c4d5e6f7a8b";

    #[test]
    fn reads_loose_packed_and_detached_heads() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::create_dir_all(folder.path().join("project/runs")).unwrap();
        let inside = folder.path().join("project/runs");

        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(revision(&inside), None);
        fs::write(git.join("packed-refs"), format!("# pack-refs\n{COMMIT} refs/heads/main\n")).unwrap();
        assert_eq!(revision(&inside).as_deref(), Some(COMMIT));
        let loose = COMMIT.replace('c', "d");
        fs::write(git.join("refs/heads/main"), format!("{loose}\n")).unwrap();
        assert_eq!(revision(&inside), Some(loose));
        fs::write(git.join("HEAD"), COMMIT).unwrap();
        assert_eq!(revision(&inside).as_deref(), Some(COMMIT));
    }
}
