//! What a worker gets of the environment.

use std::{fs, path::Path};

use greentune_workbench::{Secrets, Workbench, WorkbenchConfig, operation::InspectDataset};

use crate::sandbox::{Sandbox, problem, start};

/// A workbench whose workers write their variables to `dump` and die.
fn dumping(sandbox: &Sandbox, dump: &Path) -> Workbench {
    let script = "export -p > \"$0\"";
    let variables = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    Workbench::new(WorkbenchConfig {
        worker_command: vec!["/bin/sh".into(), "-c".into(), script.into(), dump.into()],
        worker_environment: variables("NEEDED", "yes"),
        worker_secrets: Secrets(variables("WANDB_API_KEY", "canary")),
        ..sandbox.config("trains")
    })
}

#[tokio::test]
async fn a_worker_inherits_nothing_and_only_one_that_trains_gets_credentials() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let dump = sandbox.root().join("variables");
    let workbench = dumping(&sandbox, &dump);
    let variables = || {
        let text = fs::read_to_string(&dump).unwrap();
        // Cargo gives it to this process.
        assert!(text.contains("NEEDED") && !text.contains("CARGO_MANIFEST_DIR"), "{text}");
        fs::remove_file(&dump).unwrap();
        text
    };
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let request = InspectDataset {
        project_path: sandbox.project.root().to_owned(),
        dataset: "data/processed/train.jsonl".into(),
        ..InspectDataset::default()
    };
    assert_eq!(problem(workbench.inspect_dataset(request).await.unwrap_err()).code, "worker.died");
    assert!(!variables().contains("canary"));
    start(&workbench, &run, true).await.unwrap_err();
    assert!(variables().contains("canary"));
}
