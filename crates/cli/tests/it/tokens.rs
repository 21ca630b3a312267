//! Where tokens go, through the binary: to the servers that the user set, and nowhere else.

mod listener;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use greentune_test_support::fake_hub::FakeHub;
use serde_json::{Value, json};

use self::listener::{IN_ANSWERS, Listener};
use crate::{
    assistant::called_with,
    mcp_http::Served,
    sandbox::{Ran, Sandbox, ran},
};

/// Variables with secrets, each with a word of its own.
const VARIABLES: &[(&str, &str)] = &[
    ("MLFLOW_TRACKING_TOKEN", "canary-of-mlflow"),
    ("MLFLOW_TRACKING_PASSWORD", "canary-password-of-mlflow"),
    ("WANDB_API_KEY", "canary-of-wandb-0123456789abcdef01234567"),
    ("ELECTRICITY_MAPS_TOKEN", "canary-of-electricity-maps"),
    ("HF_TOKEN", "canary-of-the-hub"),
    ("AWS_SECRET_ACCESS_KEY", "canary-of-aws"),
    ("GITHUB_TOKEN", "canary-of-github"),
    ("ANTHROPIC_API_KEY", "canary-of-anthropic"),
    ("KAGGLE_KEY", "canary-of-kaggle"),
    ("https_proxy", "http://ada:canary-of-the-proxy@127.0.0.1:9"),
];
/// Files with secrets; those in the project belong to it.
const FILES: &[&str] = &[
    "user-home/.netrc",
    "user-home/.aws/credentials",
    "user-home/.git-credentials",
    "user-home/.kaggle/kaggle.json",
    "user-home/.ssh/id_ed25519",
    "huggingface/token",
    "p/.env",
];
/// How `api:canary` begins in base64, as Weights & Biases gets its key.
const ENCODED: &str = "YXBpOmNhbmFye";

/// A user with secrets, and a project on a model of the Hub that is tracked at two servers.
struct Place {
    sandbox: Sandbox,
    hub: FakeHub,
    wandb: Listener,
    mlflow: Listener,
    carbon: Listener,
    /// Whether the user's variables name the last two, or the project's file.
    is_users: bool,
    /// All that commands wrote to the terminal.
    said: String,
}

impl Place {
    fn new(is_users: bool) -> Self {
        let sandbox = Sandbox::new();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference/olmo2-tiny");
        let hub = FakeHub::serving(&model, "org/tiny").unwrap();
        let [wandb, mlflow, carbon] = [(); 3].map(|()| Listener::start());
        let made = sandbox.run(["new", "p", "--base-model", "org/tiny"]);
        assert_eq!(made.code, 0, "{made:?}");
        for name in ["train", "validation", "test"] {
            let records = format!("{{\"instruction\":\"say {name}\",\"output\":\"{name}\"}}\n").repeat(4);
            sandbox.write(&format!("p/{name}.jsonl"), &records);
        }
        for (number, file) in FILES.iter().enumerate() {
            sandbox.write(file, &format!("canary-of-file-{number}\n"));
        }
        let config =
            "[project]\nname = \"p\"\n[base_model]\nmodel_id = \"org/tiny\"\n[wandb]\nproject = \"p\"\n";
        let tracked = "[mlflow]\nenabled = true\n";
        let place = "[carbon]\ncountry_iso_code = \"FRA\"\n";
        let theirs = format!(
            "{config}{tracked}tracking_uri = \"{}\"\n{place}emissions_endpoint = \"{}/v3/carbon-intensity\"\n",
            mlflow.address, carbon.address
        );
        let ours = format!("{config}{tracked}{place}");
        sandbox.write("p/config/fine_tuning_config.toml", if is_users { &ours } else { &theirs });
        Self { sandbox, hub, wandb, mlflow, carbon, is_users, said: String::new() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.current_dir(self.sandbox.path("p")).envs(VARIABLES.iter().copied());
        command.env("HOME", self.sandbox.path("user-home")).env_remove("XDG_CACHE_HOME");
        command.env("HF_ENDPOINT", self.hub.endpoint()).env("WANDB_BASE_URL", &self.wandb.address);
        if self.is_users {
            let endpoint = format!("{}/v3/carbon-intensity", self.carbon.address);
            command.env("MLFLOW_TRACKING_URI", &self.mlflow.address);
            command.env("GREENTUNE_CARBON__EMISSIONS_ENDPOINT", endpoint);
        }
        command
    }

    /// Runs a command that succeeds, and keeps what it says.
    fn run(&mut self, arguments: &[&str]) -> Ran {
        let ran = ran(&mut self.command(arguments));
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        self.said.push_str(&ran.stdout);
        self.said.push_str(&ran.stderr);
        ran
    }

    /// A run from its configuration to its export.
    fn whole_run(&mut self) {
        let new = ["runs", "new", "--json", "--name", "r", "--train", "train.jsonl"];
        let few = ["--validation", "validation.jsonl", "--set", "training.num_stages=1"];
        let quick = ["--set", "training.stage1.iterations=2", "--set", "training.stage1.warmup_steps=0"];
        let made = self.run(&[&new[..], &few, &quick, &["--set", "evaluation.generate_records=1"]].concat());
        let run_id = made.json()["run_id"].as_str().unwrap().to_owned();
        for arguments in [
            &["train", &run_id][..],
            &["runs", "sync", &run_id],
            &["runs", "show", &run_id, "--json"],
            &["evaluate", &run_id, "--test", "test.jsonl", "--stage", "1"],
            &["emissions", "summary", &run_id],
            &["emissions", "track", "--", "true"],
            &["card", &run_id, "--to", "card.md"],
            &["export", &run_id, "--stage", "1", "--format", "huggingface", "--to", "out", "--merge"],
            &["config", "show"],
            &["doctor"],
        ] {
            self.run(arguments);
        }
    }

    /// Every file but those with secrets, by its name.
    fn written(&self) -> Vec<(PathBuf, String)> {
        let root = self.sandbox.path("");
        let secrets: Vec<_> = FILES.iter().map(|file| self.sandbox.path(file)).collect();
        let (mut folders, mut files) = (vec![root], Vec::new());
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if path.is_file() && !secrets.contains(&path) {
                    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                    files.push((path, text));
                }
            }
        }
        files
    }
}

/// The canaries in `text`.
fn canaries(text: &str) -> Vec<&str> {
    let mut found: Vec<_> = text.match_indices("canary").map(|(at, _)| word(&text[at..])).collect();
    found.extend(text.match_indices(ENCODED).map(|(at, _)| word(&text[at..])));
    found.sort_unstable();
    found.dedup();
    found
}

fn word(text: &str) -> &str {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').next().unwrap_or_default()
}

#[test]
fn secrets_reach_their_own_servers_and_neither_files_nor_terminal_nor_a_projects_servers() {
    for is_users in [true, false] {
        let mut place = Place::new(is_users);
        place.whole_run();
        assert_eq!(canaries(&place.said), [""; 0], "on the terminal: {}", place.said);
        let written = place.written();
        assert!(
            written.len() > 20 && written.iter().any(|(path, _)| path.ends_with("out/model.safetensors"))
        );
        for (path, text) in &written {
            assert_eq!(canaries(text), [""; 0], "in {}", path.display());
        }

        let (mlflow, carbon, wandb) = (place.mlflow.heard(), place.carbon.heard(), place.wandb.heard());
        assert!(mlflow.contains("/api/2.0/mlflow/runs/create"), "{mlflow}");
        assert!(carbon.contains("GET /v3/carbon-intensity/latest?"), "{carbon}");
        let own = |canary: &'static str| if is_users { vec![canary] } else { Vec::new() };
        assert_eq!(canaries(&mlflow), own("canary-of-mlflow"));
        assert_eq!(canaries(&carbon), own("canary-of-electricity-maps"));
        // A place for uploads is the server's to name, and gets no key.
        let to_wandb = canaries(&wandb);
        assert_eq!(to_wandb.len(), 2, "{to_wandb:?}");
        assert!(to_wandb[0].starts_with(ENCODED) && to_wandb[1] == IN_ANSWERS, "{to_wandb:?}");
        let upload = wandb.split("PUT /upload").nth(1).unwrap();
        assert!(!upload.to_ascii_lowercase().split("\r\n\r\n").next().unwrap().contains("authorization"));
        let to_hub: Vec<_> =
            place.hub.requests().into_iter().filter_map(|asked| asked.authorization).collect();
        assert!(
            !to_hub.is_empty() && to_hub.iter().all(|sent| sent == "Bearer canary-of-the-hub"),
            "{to_hub:?}"
        );
    }
}

/// The message in `answer`, which has the head of its response before it.
fn message(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").map_or(answer, |(_, body)| body);
    let text = body.lines().rfind(|line| line.contains("\"jsonrpc\""));
    let text = text.unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str(text.strip_prefix("data:").unwrap_or(text)).unwrap_or_else(|_| panic!("{answer}"))
}

#[test]
fn no_secret_comes_back_from_a_tool_or_a_resource_over_http() {
    let mut place = Place::new(true);
    place.whole_run();
    let config = place.sandbox.path("p/config/fine_tuning_config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("# canary-in-the-projects-config\n{text}")).unwrap();
    place.sandbox.write("user/greentune/config.toml", "# canary-in-the-users-config\n");
    let listed = place.run(&["runs", "list", "--json"]).json();
    let run = listed["runs"][0]["run_id"].as_str().unwrap().to_owned();
    let log = place.sandbox.path(&format!("p/logs/{run}.log"));
    fs::write(&log, format!("{}canary-in-the-log\n", fs::read_to_string(&log).unwrap())).unwrap();

    let served = Served::by(place.command(&["mcp", "--http", "127.0.0.1:0", "--tools", "all"]));
    let mut asked = 0;
    let mut ask = |method: &str, params: Value| {
        let answer = served.ask(None, method, params.clone());
        assert_eq!(canaries(&answer), [""; 0], "{method} {params}: {answer}");
        asked += 1;
        message(&answer)
    };
    let project = place.sandbox.path("p");
    let known = [
        ("project_path", json!(project)),
        ("run_id", json!(run)),
        ("job_id", json!(run)),
        ("run_ids", json!([run])),
        ("ast_run_id", json!(run)),
        ("baseline_run_id", json!(run)),
        ("dataset", json!("train.jsonl")),
        ("prompts", json!(["say train"])),
    ];
    let tools = ask("tools/list", json!({}))["result"]["tools"].clone();
    let mut refused = Vec::new();
    for tool in tools.as_array().unwrap().iter().filter(|tool| tool["annotations"]["readOnlyHint"] == true) {
        let takes = |name: &str| tool["inputSchema"]["properties"].get(name).is_some();
        let arguments: Value = known
            .iter()
            .filter(|(name, _)| takes(name))
            .map(|(name, value)| (*name, value.clone()))
            .collect();
        let answer = ask("tools/call", json!({ "name": tool["name"], "arguments": arguments }));
        if answer["result"]["isError"] != false {
            refused.push(tool["name"].clone());
        }
    }
    assert_eq!(refused, ["compare_runs"], "it needs a second run");
    let mut uris: Vec<String> =
        ["manifest", "events", "emissions", "card", "charts/energy", "charts/power", "charts/loss"]
            .map(|part| format!("run://{run}/{part}"))
            .to_vec();
    uris.extend(["config", "runs"].map(|part| format!("project://{}/{part}", project.display())));
    for uri in uris {
        let answer = ask("resources/read", json!({ "uri": uri }));
        assert!(answer["result"]["contents"][0].is_object(), "{uri}: {answer}");
    }
    for method in ["resources/list", "resources/templates/list", "prompts/list", "server/discover"] {
        assert!(ask(method, json!({}))["result"].is_object(), "{method}");
    }
    assert!(asked > 20, "{asked}");
    let said = served.said();
    assert_eq!(canaries(&said), [""; 0], "in the log: {said}");
    let noted = fs::read_to_string(place.sandbox.path("home/audit/calls.jsonl")).unwrap();
    assert_eq!(canaries(&noted), [""; 0], "{noted}");
}

#[test]
fn a_typed_endpoint_gets_the_token_and_a_projects_endpoint_says_why_not() {
    let mut place = Place::new(false);
    place.run(&["emissions", "forecast"]);
    assert_eq!(canaries(&place.carbon.heard()), [""; 0]);
    let setting = format!("carbon.emissions_endpoint={}/v3/carbon-intensity", place.carbon.address);
    place.run(&["emissions", "forecast", "--set", &setting]);
    assert_eq!(canaries(&place.carbon.heard()), ["canary-of-electricity-maps"]);
    let service = "[carbon]\nemissions_endpoint = \"https://evil.electricitymaps.com/v3\"\n";
    place.sandbox.write("p/config/fine_tuning_config.toml", service);
    let refused =
        ran(place.command(&["emissions", "forecast", "--json"]).env_remove("https_proxy")).problem();
    assert_eq!(refused["code"], "carbon.live_intensity", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("GREENTUNE_ALLOWED_HOSTS"), "{refused}");
}

#[test]
fn an_assistant_sets_no_server_until_the_user_allows_its_host() {
    let sandbox = Sandbox::new();
    let new = json!({
        "project_name": "q", "output_dir": sandbox.path("mine"),
        "base_model_config": { "type": "olmo", "model_id": "org/tiny" },
        "integrations": { "mlflow_tracking_uri": "https://mlflow.example" },
    });
    fs::create_dir(sandbox.path("mine")).unwrap();
    let made = |variables: &[(&str, &str)]| {
        let arguments = ["--allow-dir", "mine"];
        called_with(&sandbox, &sandbox.path(""), &arguments, variables, "generate_fine_tuning_project", &new)
    };
    let refused = made(&[]);
    assert_eq!(refused["structuredContent"]["code"], "address.not_allowed", "{refused}");
    assert!(!sandbox.path("mine/q").exists());
    let allowed = made(&[("GREENTUNE_ALLOWED_HOSTS", "mlflow.example")]);
    assert_eq!(allowed["isError"], false, "{allowed}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_training_worker_has_the_tokens_that_it_needs_and_no_others() {
    let mut place = Place::new(true);
    let new = ["runs", "new", "--json", "--name", "r", "--train", "train.jsonl"];
    let long = ["--validation", "validation.jsonl", "--set", "training.stage1.iterations=100000"];
    let made = place.run(&[&new[..], &long, &["--set", "training.num_stages=1"]].concat());
    let run_id = made.json()["run_id"].as_str().unwrap().to_owned();
    place.run(&["train", &run_id, "--detach"]);
    let shown = place.run(&["runs", "show", &run_id, "--json"]).json();
    let environment = fs::read(format!("/proc/{}/environ", shown["manifest"]["pid"])).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", shown["manifest"]["pid"])).unwrap();
    place.run(&["cancel", &run_id]);
    // Servers go without huge pages (`THP_enabled` since Linux 5.0); what trains must not.
    assert!(!status.contains("THP_enabled:\t0"), "{status}");
    let environment = String::from_utf8(environment).unwrap();
    let needed = [
        "canary-of-electricity-maps",
        "canary-of-mlflow",
        "canary-of-the-proxy",
        "canary-of-wandb-0123456789abcdef01234567",
        "canary-password-of-mlflow",
    ];
    assert_eq!(canaries(&environment), needed, "{environment}");
}
