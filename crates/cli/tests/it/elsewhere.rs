//! A whole run of the real trainer on a platform that is not this machine.

use std::{fs, path::Path, sync::Arc, time::Duration};

use greentune_core_config::{layout::RunLayout, manifest::RunStatus, platform::PlatformKind, port::Platform};
use greentune_test_support::elsewhere::Elsewhere;
use greentune_workbench::{
    ExportFormat, Workbench, WorkbenchConfig,
    operation::{EvaluateModel, ExportModel, MonitorTrainingProgress, StartTraining},
};
use serde_json::json;

use crate::sandbox::{Sandbox, ran};

#[tokio::test]
async fn a_run_trained_elsewhere_is_the_run_trained_here() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    let [here, there] = ["here", "there"].map(|name| configure(&sandbox, &project, name));
    let trained = ran(sandbox.command(["train", &here.run_id()]).current_dir(&project));
    assert_eq!(trained.code, 0, "{trained:?}");

    let worker = vec![env!("CARGO_BIN_EXE_greentune").into(), "worker".into()];
    let platform = Arc::new(Elsewhere::new(sandbox.path("elsewhere"), worker.clone()));
    let known: Arc<dyn Platform> = platform.clone();
    let workbench = Workbench::new(WorkbenchConfig::new(sandbox.path("home"), worker)).with_platform(known);
    let start = StartTraining {
        platform: Some(PlatformKind::Ray),
        async_mode: Some(true),
        ..StartTraining::of(there.run_id())
    };
    workbench.start_training(start).await.unwrap();
    wait_for_end(&workbench, &there).await;

    // Nobody waited for the run in one call, so that its files are still elsewhere: what needs them brings them.
    assert!(!there.adapters(2).exists());
    let exported = ExportModel {
        run_id: there.run_id(),
        stage: 2,
        export_format: ExportFormat::Huggingface,
        export_path: "exported".into(),
        ..ExportModel::default()
    };
    workbench.export_model(exported).await.unwrap();
    for stage in [1, 2] {
        let adapters =
            |run: &RunLayout| fs::read(run.adapters(stage).join("adapter_model.safetensors")).unwrap();
        assert!(adapters(&here) == adapters(&there), "the adapters of stage {stage} differ");
    }
    let evaluation = EvaluateModel {
        run_id: there.run_id(),
        test_dataset: "data/validation.jsonl".into(),
        stage: 2,
        ..EvaluateModel::default()
    };
    let evaluated = workbench.evaluate_model(evaluation).await.unwrap();
    assert_eq!(evaluated.reports[0].records, 6);
    let used =
        ran(sandbox.command(["emissions", "summary", &there.run_id(), "--json"]).current_dir(&project))
            .json();
    assert_eq!(used["summary"]["num_stages"], 2, "the emissions of both stages are here");
}

/// A run of two stages with six steps each on data inside of the project.
fn configure(sandbox: &Sandbox, project: &Path, name: &str) -> RunLayout {
    for (file, records) in [("train", 24), ("validation", 6)] {
        let record = |number: usize| json!({ "instruction": format!("Repeat number {number}."), "output": format!("It is {}.", number % 7) });
        let text: String = (0..records).map(|number| record(number).to_string() + "\n").collect();
        fs::write(project.join(format!("data/{file}.jsonl")), text).unwrap();
    }
    let settings = [
        "training.stage1.iterations=6",
        "training.stage2.iterations=6",
        "training.stage1.warmup_steps=2",
        "training.stage2.warmup_steps=2",
        "training.max_seq_length=64",
        "training.device=cpu",
        "evaluation.generate_records=0",
    ];
    let files = ["--train", "data/train.jsonl", "--validation", "data/validation.jsonl"];
    let mut command = sandbox.command(["runs", "new", "--json", "--name", name]);
    command.args(files).args(settings.iter().flat_map(|setting| ["--set", setting])).current_dir(project);
    let made = ran(&mut command).json();
    RunLayout::at(made["run_directory"].as_str().unwrap()).unwrap()
}

async fn wait_for_end(workbench: &Workbench, run: &RunLayout) {
    for _ in 0..1200 {
        let request = MonitorTrainingProgress { run_id: run.run_id(), ..MonitorTrainingProgress::default() };
        let now = workbench.monitor_training_progress(request).await.unwrap();
        if !now.status.is_active() {
            assert_eq!(now.status, RunStatus::Completed, "{:?}", now.problem);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the run did not end in a minute");
}
