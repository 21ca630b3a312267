//! Folders for a server: one that it may use, its home, and a surrounding in which nothing may change.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{generate::Words, wire::Wire};
use crate::session::{fixture, run_arguments};

/// What is written in files that no answer may quote.
pub const CANARY: &str = "canary-5d41-do-not-quote";

pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for folder in ["allowed", "user/.ssh", "outside"] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        place.write_canaries();
        place.write_hostile_files();
        place
    }

    /// The folder that a server may use.
    pub fn allowed(&self) -> PathBuf {
        self.path("allowed")
    }

    /// greentune's home.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The user's home folder.
    pub fn user(&self) -> PathBuf {
        self.path("user")
    }

    pub fn project(&self) -> PathBuf {
        // The server is started in it, before it is made.
        let project = self.path("allowed/health");
        if project.exists() { project } else { self.allowed() }
    }

    /// A project with a completed run and one that is configured; answers the runs' ids.
    pub async fn set_up(&self, wire: &mut Wire) -> Vec<String> {
        let project = self.path("allowed/health");
        let made = json!({
            "project_name": "health", "output_dir": self.allowed(), "training_config": { "num_stages": 2 },
            "base_model_config": { "type": "olmo", "model_id": "olmo2-tiny", "local_path": self.path("allowed/model") },
        });
        done(wire, "generate_fine_tuning_project", &made).await;
        let mut runs = Vec::new();
        for name in ["first", "second"] {
            let mut arguments = run_arguments(&json!(project));
            arguments["run_name"] = json!(name);
            arguments["training_data"]["train_dataset"] = json!(self.path("allowed/records.jsonl"));
            arguments["training_data"]["validation_dataset"] = json!(self.path("allowed/few.jsonl"));
            let stage = json!({ "iterations": 3, "warmup_steps": 0 });
            arguments["override_params"] = json!({ "training": { "stage1": stage, "stage2": stage } });
            let answer = done(wire, "configure_training_run", &arguments).await;
            runs.push(answer["run_id"].as_str().unwrap().to_owned());
        }
        let start = json!({ "project_path": project, "run_id": runs[0], "async_mode": false });
        done(wire, "start_training", &start).await;
        runs
    }

    /// Every file and link outside of the two folders that a server may write to, with its content.
    pub fn outside(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        look(&self.root(), &[self.allowed(), self.home()], &mut found);
        // A server in this process is started in the crate's folder.
        found.extend(names(Path::new(".")).into_iter().map(|name| (name, Vec::new())));
        found
    }

    /// Words for arguments: names, ids and paths of this place and of what surrounds it.
    pub fn words(&self, runs: &[String]) -> Words {
        let mut ids = runs.to_vec();
        ids.extend(
            ["first", "fir", "second", "..", "../../outside", "none-20260101-000000"].map(String::from),
        );
        let inside = INSIDE.iter().map(|name| self.path("allowed").join(name));
        let outside = OUTSIDE.iter().map(|name| self.root().join(name));
        let run = self.path("allowed/health/runs").join(&runs[0]);
        let of_run = ["", "run-manifest.json", "stage1/adapters"].map(|name| run.join(name));
        let paths = inside.chain(of_run).chain(outside).map(|path| path.to_str().unwrap().to_owned());
        Words {
            ids,
            valid_paths: VALID.iter().map(|name| self.text("allowed", name)).collect(),
            project: self.text("allowed", "health"),
            paths: paths.chain(PATHS.iter().map(|path| (*path).to_owned())).collect(),
            datasets: ["records.jsonl", "few.jsonl", "records.csv"]
                .map(|name| self.text("allowed", name))
                .to_vec(),
        }
    }

    fn text(&self, folder: &str, name: &str) -> String {
        self.path(folder).join(name).to_str().unwrap().to_owned()
    }

    fn root(&self) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn write_canaries(&self) {
        let record = format!("{{\"instruction\":\"{CANARY}\",\"output\":\"{CANARY}\"}}\n");
        fs::write(self.path("outside/canary.jsonl"), record).unwrap();
        fs::write(self.path("outside/canary.csv"), format!("{CANARY},{CANARY}\n{CANARY},b\n")).unwrap();
        fs::write(self.path("outside/canary.toml"), format!("[{CANARY}]\n{CANARY} = \"{CANARY}\"\n"))
            .unwrap();
        fs::write(self.path("outside/config.json"), format!("{{\"model_type\":\"{CANARY}\"}}")).unwrap();
        for name in ["user/.ssh/id_rsa", "user/.netrc", "user/.bashrc", "allowed/.env", "allowed/id_rsa"] {
            fs::write(self.path(name), format!("{CANARY}\n")).unwrap();
        }
    }

    fn write_hostile_files(&self) {
        let allowed = self.allowed();
        fs::create_dir(allowed.join("model")).unwrap();
        for file in fs::read_dir(fixture("reference/olmo2-tiny")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), allowed.join("model").join(file.file_name())).unwrap();
        }
        fs::copy(fixture("demo/narratives_validation.jsonl"), allowed.join("records.jsonl")).unwrap();
        let few = "{\"instruction\":\"a\",\"output\":\"b\"}\n{\"instruction\":\"c\",\"output\":\"d\"}\n";
        fs::write(allowed.join("few.jsonl"), few).unwrap();
        fs::write(allowed.join("records.csv"), "instruction,output\na,b\nc,d\ne,f\n").unwrap();
        fs::write(allowed.join("empty.jsonl"), "").unwrap();
        fs::write(allowed.join("bytes.csv"), [0xff, 0, 0xfe, b'\n', 0x80]).unwrap();
        fs::write(allowed.join("escape.jsonl"), "{\"instruction\":\"\\u001b[2J\",\"output\":\"\\u0000\"}\n")
            .unwrap();
        fs::write(allowed.join("long.jsonl"), vec![b'['; 1 << 20]).unwrap();
        fs::create_dir(allowed.join("folder.jsonl")).unwrap();
        symlink(self.path("outside"), allowed.join("link")).unwrap();
        symlink(self.path("outside/canary.jsonl"), allowed.join("link.jsonl")).unwrap();
        symlink(self.path("outside/new.md"), allowed.join("new.md")).unwrap();
        symlink("loop", allowed.join("loop")).unwrap();
        make_pipe(&allowed.join("pipe.jsonl"));
        // The folder of a model.
        fs::create_dir(allowed.join("piped")).unwrap();
        make_pipe(&allowed.join("piped/config.json"));
    }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

const VALID: &[&str] = &["health", "out", "health/data/processed", "card.md", "model", "exported/a"];

const INSIDE: &[&str] = &[
    "",
    "health",
    "health/data",
    "health/runs",
    "health/config/fine_tuning_config.toml",
    "model",
    "model/tokenizer.json",
    "records.jsonl",
    "records.csv",
    "few.jsonl",
    "empty.jsonl",
    "bytes.csv",
    "escape.jsonl",
    "long.jsonl",
    "folder.jsonl",
    "link",
    "link/canary.csv",
    "link/new/deeper",
    "link.jsonl",
    "new.md",
    "loop",
    "pipe.jsonl",
    "piped",
    ".env",
    "id_rsa",
    "out",
    "out/deeper",
    "health/../../outside/canary.jsonl",
    "./health/./",
    "none.jsonl",
    "日本/データ",
    ".mcp.json",
    "health/Makefile",
    "a\u{202e}b",
];

const OUTSIDE: &[&str] = &[
    "outside",
    "outside/canary.jsonl",
    "outside/canary.csv",
    "outside/canary.toml",
    "outside/new",
    "user/.ssh/id_rsa",
    "user/.netrc",
    "user/.bashrc",
    "user",
    "",
    "home",
    "home/state.db",
    "allowed/../outside",
];

const PATHS: &[&str] = &[
    "",
    ".",
    "..",
    "/",
    "~",
    "~/.netrc",
    "~/.ssh/id_rsa",
    "../outside/canary.jsonl",
    "../../outside/canary.csv",
    "data/processed/train.jsonl",
    "/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "/proc/self/mem",
    "file:///etc/passwd",
    "file://localhost/dev/zero",
    "%2e%2e/outside",
    "$HOME/.bashrc",
    "C:\\Windows",
    "-rf",
    "a\0b",
    "hf://datasets/a/b",
    "http://127.0.0.1:9/x",
];

async fn done(wire: &mut Wire, tool: &str, arguments: &Value) -> Value {
    let answer = wire.call("tools/call", &json!({ "name": tool, "arguments": arguments })).await.unwrap();
    assert_eq!(answer["result"]["isError"], false, "{tool}: {answer}");
    answer["result"]["structuredContent"].clone()
}

fn look(folder: &Path, except: &[PathBuf], found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for path in names(folder).into_iter().filter(|path| !except.contains(path)) {
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            look(&path, except, found);
            found.insert(path, Vec::new());
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
