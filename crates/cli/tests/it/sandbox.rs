//! A folder and a home of its own for each test, and `greentune` in it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder in which the command line runs.
pub struct Sandbox {
    folder: TempDir,
}

/// What a command left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The one JSON document on standard output of a command that succeeded.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one JSON document on standard error of a command that failed; standard output is empty.
    pub fn problem(&self) -> Value {
        assert_eq!(self.stdout, "", "{self:?}");
        assert_ne!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Sandbox {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `greentune` in this folder, with nothing of the surrounding user's settings.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greentune"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["GREENTUNE_", "HF_", "HUGGING"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.env("GREENTUNE_HOME", self.path("home")).env("XDG_CONFIG_HOME", self.path("user"));
        command.env("HF_HOME", self.path("huggingface"));
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        ran(&mut self.command(arguments))
    }

    /// A project `p` in this folder, with the tiny reference model as its base.
    pub fn project(&self) -> PathBuf {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference/olmo2-tiny");
        let model = model.to_str().unwrap();
        let made = self.run(["new", "p", "--base-model", model]);
        assert_eq!(made.code, 0, "{made:?}");
        self.path("p")
    }
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}
