//! The git revision of a folder, read from `.git` without starting git.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use greentune_durable::read_text_at_most;

/// Bytes of a file with one name in it at most.
const LINE_BYTES: u64 = 64 << 10;
/// Bytes of the list of all branches and tags at most.
const PACKED_BYTES: u64 = 256 << 20;

/// The commit that is checked out around `folder`; `None` when there is none or it cannot be read.
pub(crate) fn revision(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|ancestor| ancestor.join(".git")).find(|git| git.exists())?;
    let git = if git.is_file() { linked_folder(&git)? } else { git };
    let head = text_in(&git, "HEAD", LINE_BYTES)?;
    match head.trim().strip_prefix("ref: ") {
        None => commit(head.trim()),
        Some(name) => {
            let common = common_folder(&git);
            [&git, &common]
                .into_iter()
                .find_map(|root| commit(text_in(root, branch(name)?, LINE_BYTES)?.trim()))
                .or_else(|| packed(&common, name))
        }
    }
}

/// The folder that a `.git` file of a worktree or submodule points to.
fn linked_folder(git: &Path) -> Option<PathBuf> {
    let text = read_text_at_most(git, LINE_BYTES).ok()?;
    Some(git.parent()?.join(text.trim().strip_prefix("gitdir: ")?))
}

fn common_folder(git: &Path) -> PathBuf {
    text_in(git, "commondir", LINE_BYTES).map_or_else(|| git.to_owned(), |common| git.join(common.trim()))
}

fn packed(git: &Path, name: &str) -> Option<String> {
    let refs = text_in(git, "packed-refs", PACKED_BYTES)?;
    refs.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').and_then(commit))
}

/// The name of a branch or a tag: a project from elsewhere could name any file.
fn branch(name: &str) -> Option<&str> {
    let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && name.starts_with("refs/")).then_some(name)
}

/// The file `name` of the folder `git`, where no link leads out of it.
fn text_in(git: &Path, name: &str, most: u64) -> Option<String> {
    let (root, path) = (fs::canonicalize(git).ok()?, fs::canonicalize(git.join(name)).ok()?);
    if path.starts_with(root) { read_text_at_most(&path, most).ok() } else { None }
}

fn commit(text: &str) -> Option<String> {
    (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| text.to_owned())
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

    #[cfg(unix)]
    #[test]
    fn what_a_project_calls_git_lends_no_file_from_elsewhere_and_is_not_waited_for() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let (git, key) = (folder.path().join("project/.git"), folder.path().join("key"));
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        // A key may look like a commit.
        fs::write(&key, COMMIT).unwrap();
        let read = |head: &str| {
            fs::write(git.join("HEAD"), head).unwrap();
            revision(&folder.path().join("project"))
        };
        symlink(&key, git.join("refs/heads/link")).unwrap();
        symlink(folder.path(), git.join("refs/outside")).unwrap();
        let absolute = format!("ref: {}", key.display());
        for head in [
            &absolute,
            "ref: ../../key",
            "ref: refs/../../../key",
            "ref: refs/heads/link",
            "ref: refs/outside/key",
        ] {
            assert_eq!(read(head), None, "{head}");
        }
        fs::remove_file(git.join("HEAD")).unwrap();
        symlink(&key, git.join("HEAD")).unwrap();
        assert_eq!(revision(&folder.path().join("project")), None);
        fs::remove_file(git.join("HEAD")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(git.join("HEAD")).status();
        assert!(made.unwrap().success());
        assert_eq!(revision(&folder.path().join("project")), None);
    }
}
