//! Files that are refused by their names, wherever they lie. `SECURITY.md` has the same list.

use std::path::Path;

use super::{Access, names};

/// Folders that hold credentials, or that make other programs run something.
const FOLDERS: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".oci",
    ".kaggle",
    ".databricks",
    ".password-store",
    ".git",
    ".huggingface",
    "keyrings",
    ".mozilla",
    ".thunderbird",
];
/// The same by the last two names of a folder.
const FOLDERS_IN: &[[&str; 2]] =
    &[[".config", "gcloud"], [".config", "gh"], [".config", "wandb"], [".config", "google-chrome"]];
/// Files that hold credentials.
const FILES: &[&str] = &[
    ".netrc",
    "_netrc",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".git-credentials",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".vault-token",
    ".s3cfg",
    ".boto",
    ".databrickscfg",
    "kaggle.json",
    "application_default_credentials.json",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".psql_history",
    ".mysql_history",
    ".authinfo",
    ".dockercfg",
];
/// The same by a file's folder and name.
const FILES_IN: &[[&str; 2]] = &[
    ["huggingface", "token"],
    ["huggingface", "stored_tokens"],
    [".cargo", "credentials"],
    [".cargo", "credentials.toml"],
    ["etc", "shadow"],
    ["etc", "gshadow"],
    ["etc", "sudoers"],
    [".mlflow", "credentials"],
];
/// Beginnings of the names of files that hold credentials.
const BEGINNINGS: &[&str] = &["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".env"];
/// Endings of the names of files that hold keys.
const ENDINGS: &[&str] =
    &[".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk", ".gpg", ".asc"];
/// Folders of the system in which files are no files.
const SYSTEM: &[&str] = &["/proc", "/sys", "/dev", "/run"];

/// Files that other programs run or obey; they are not written.
const START_UP_FILES: &[&str] = &[
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".inputrc",
    ".vimrc",
    ".exrc",
    ".gitconfig",
    ".gitattributes",
    ".gitmodules",
    ".xinitrc",
    ".xprofile",
    ".xsession",
    ".xsessionrc",
    ".pam_environment",
    ".mcp.json",
    ".claude.json",
    ".pre-commit-config.yaml",
    ".cursorrules",
    ".windsurfrules",
    "claude.md",
    "claude.local.md",
    "agents.md",
    "gemini.md",
    "opencode.json",
    "opencode.jsonc",
    "authorized_keys",
    "crontab",
    "makefile",
    "justfile",
];
/// Folders of such files.
const START_UP_FOLDERS: &[&str] = &[
    ".claude",
    ".cursor",
    ".codeium",
    ".windsurf",
    ".devin",
    ".zed",
    ".codex",
    ".gemini",
    ".copilot",
    ".opencode",
    ".agents",
    ".kiro",
    ".lmstudio",
    ".vscode",
    ".idea",
    ".github",
    ".husky",
    "cron.d",
    "init.d",
    "profile.d",
    "launchagents",
];
/// The same by the last two names of a folder.
const START_UP_FOLDERS_IN: &[[&str; 2]] = &[
    [".config", "fish"],
    [".config", "autostart"],
    [".config", "systemd"],
    [".config", "nvim"],
    [".config", "claude"],
    [".config", "code"],
    [".config", "devin"],
    [".config", "opencode"],
    [".config", "zed"],
    [".local", "bin"],
];

/// Whether `path`, which lies below the allowed `root`, is never used so.
pub(super) fn is_refused(path: &Path, root: &Path, access: Access) -> bool {
    let is_of_system = |folder: &&str| path.starts_with(folder) && !root.starts_with(folder);
    if SYSTEM.iter().any(is_of_system) {
        return true;
    }
    let below = path.strip_prefix(root).map(names).unwrap_or_default();
    let Some((file, folders)) = below.split_last() else { return false };
    // A pair of names may begin with the last one of the root.
    let all = names(path);
    let tail = all.get(all.len().saturating_sub(below.len() + 1)..).unwrap_or_default();
    let any_folder = |known: &[&str]| below.iter().any(|name| known.contains(&name.as_str()));
    let pair =
        |pair: &[String], known: &[[&str; 2]]| known.iter().any(|[a, b]| pair[0] == *a && pair[1] == *b);
    let any_pair = |known: &[[&str; 2]]| tail.windows(2).any(|window| pair(window, known));
    let holds_credentials = any_folder(FOLDERS)
        || any_pair(FOLDERS_IN)
        || any_pair(FILES_IN)
        || FILES.contains(&file.as_str())
        || BEGINNINGS.iter().any(|beginning| file.starts_with(beginning))
        || ENDINGS.iter().any(|ending| file.ends_with(ending));
    let is_obeyed = || {
        START_UP_FILES.contains(&file.as_str())
            || folders.iter().any(|name| START_UP_FOLDERS.contains(&name.as_str()))
            || any_pair(START_UP_FOLDERS_IN)
    };
    holds_credentials || (access == Access::Write && is_obeyed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, access: Access) -> bool {
        is_refused(Path::new(path), Path::new("/home/ada"), access)
    }

    #[test]
    fn files_of_credentials_are_neither_read_nor_written() {
        for path in [
            ".ssh/config",
            ".ssh/id_ed25519.jsonl",
            "work/ID_RSA.csv",
            "work/server.pem",
            "work/tls.key",
            ".netrc",
            ".npmrc",
            ".pypirc",
            ".aws/credentials",
            ".config/gcloud/credentials.db",
            ".kaggle/kaggle.json",
            ".cache/huggingface/token",
            ".git-credentials",
            "project/.git/config",
            "project/.env",
            "project/.env.local",
            ".cargo/credentials.toml",
            ".bash_history",
        ] {
            let path = format!("/home/ada/{path}");
            assert!(refused(&path, Access::Read) && refused(&path, Access::Write), "{path}");
        }
        for path in ["/proc/self/environ", "/dev/zero", "/sys/kernel", "/run/secrets/token"] {
            assert!(is_refused(Path::new(path), Path::new("/"), Access::Read), "{path}");
        }
        assert!(is_refused(Path::new("/etc/shadow"), Path::new("/"), Access::Read));
    }

    #[test]
    fn what_other_programs_obey_is_not_written() {
        for path in [
            ".bashrc",
            ".profile",
            ".zshenv",
            ".config/fish/config.fish",
            "project/.vscode/tasks.json",
            "project/.mcp.json",
            "project/CLAUDE.md",
            "project/.agents/skills/greentune/SKILL.md",
            "project/opencode.json",
            ".codex/config.toml",
            ".config/Claude/claude_desktop_config.json",
            ".local/bin/tool.md",
        ] {
            let path = format!("/home/ada/{path}");
            assert!(refused(&path, Access::Write) && !refused(&path, Access::Read), "{path}");
        }
    }

    #[test]
    fn data_models_and_cards_are_used_and_a_root_is_not_judged() {
        for path in [
            "project/data/train.jsonl",
            "project/README.md",
            "project/runs/a/stage1/adapters/adapter_model.safetensors",
            "model/tokenizer.json",
            "data/environment.csv",
            "data/keys.jsonl",
        ] {
            let path = format!("/home/ada/{path}");
            assert!(!refused(&path, Access::Read) && !refused(&path, Access::Write), "{path}");
        }
        assert!(!is_refused(Path::new("/dev/shm/p/a.jsonl"), Path::new("/dev/shm/p"), Access::Write));
        assert!(!is_refused(Path::new("/h/.git/p/a.jsonl"), Path::new("/h/.git/p"), Access::Write));
    }
}
