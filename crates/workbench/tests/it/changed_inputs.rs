//! Data or a base model that is not what a run was configured with any more.

use std::{fs, path::PathBuf};

use greentune_core_config::{Problem, ProblemKind, layout::RunLayout, manifest::RunStatus};
use greentune_workbench::operation::{CancelTraining, CreateModelCard, ResumeTraining, StartTraining};

use crate::sandbox::{Sandbox, manifest, problem};

fn accepting(run: &RunLayout) -> StartTraining {
    StartTraining {
        accept_changed_inputs: Some(true),
        async_mode: Some(false),
        ..StartTraining::of(run.run_id())
    }
}

fn append(path: &PathBuf, text: &str) {
    let content = fs::read(path).unwrap();
    fs::write(path, [&content, text.as_bytes()].concat()).unwrap();
}

fn check_refused(problem: &Problem, file: &str) {
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Conflict, "run.inputs_changed"));
    assert!(problem.message.contains(file), "{problem}");
    assert_eq!(problem.suggestions[0].arguments["accept_changed_inputs"], true);
}

#[tokio::test]
async fn every_input_that_training_reads_is_checked_at_the_start() {
    let sandbox = Sandbox::new("trains").await;
    let base = sandbox.root().join("base");
    let data = sandbox.project.root().join("data/processed");
    let inputs = [
        data.join("train.jsonl"),
        data.join("validation.jsonl"),
        base.join("config.json"),
        base.join("tokenizer.json"),
        base.join("model.safetensors"),
    ];
    for path in inputs {
        let run = sandbox.configured().await;
        let before = fs::read(&path).unwrap();
        append(&path, "\n");
        let refused = problem(sandbox.start(&run, true).await.unwrap_err());
        check_refused(&refused, path.file_name().unwrap().to_str().unwrap());
        let untouched = manifest(&run);
        assert_eq!((untouched.status, untouched.changed_inputs.len()), (RunStatus::NotStarted, 0));
        fs::write(&path, before).unwrap();
        sandbox.start(&run, true).await.unwrap();
        assert_eq!(manifest(&run).status, RunStatus::Completed, "the old content is back");
    }
}

#[tokio::test]
async fn accepted_changes_are_recorded_and_named() {
    let sandbox = Sandbox::new("slow").await;
    let run = sandbox.configured().await;
    sandbox.start(&run, false).await.unwrap();
    let cancel = CancelTraining { run_id: run.run_id(), ..CancelTraining::default() };
    sandbox.workbench.cancel_training(cancel).await.unwrap();
    let train = sandbox.project.root().join("data/processed/train.jsonl");
    append(&train, "\n");
    let configured = manifest(&run).input_hashes;

    let resume =
        ResumeTraining { run_id: run.run_id(), async_mode: Some(false), ..ResumeTraining::default() };
    let refused = problem(sandbox.workbench.resume_training(resume.clone()).await.unwrap_err());
    check_refused(&refused, "train.jsonl");
    assert_eq!(refused.suggestions[0].operation, "resume_training");

    let accept = ResumeTraining { accept_changed_inputs: Some(true), ..resume };
    sandbox.workbench.resume_training(accept).await.unwrap();
    let written = manifest(&run);
    let [change] = &written.changed_inputs[..] else { panic!("{:?}", written.changed_inputs) };
    assert!(train.ends_with(&change.path), "{}", change.path.display());
    let key = change.path.to_string_lossy();
    assert_eq!(change.before, configured[&*key]);
    assert_eq!(change.after, written.input_hashes[&*key]);
    assert_ne!(change.after, change.before);

    let card = CreateModelCard { run_id: run.run_id(), ..CreateModelCard::default() };
    let card = sandbox.workbench.create_model_card(card).await.unwrap();
    assert!(card.markdown.contains("train.jsonl was changed before"), "{}", card.markdown);
    assert!(!card.badges.iter().any(|badge| badge == "reproducible"));
}

#[tokio::test]
async fn records_for_tests_may_change_and_what_is_gone_is_the_workers_to_tell() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = sandbox.request();
    let test = sandbox.project.root().join("data/raw/test.jsonl");
    fs::write(&test, "{}\n").unwrap();
    request.training_data.test_dataset = Some(test.clone());
    let configured = sandbox.workbench.configure_training_run(request).await.unwrap();
    let run = RunLayout::at(configured.run_directory).unwrap();
    append(&test, "{}\n");
    fs::remove_file(sandbox.project.root().join("data/processed/validation.jsonl")).unwrap();
    // The worker of these tests reads no data.
    sandbox.workbench.start_training(accepting(&run)).await.unwrap();
    assert!(manifest(&run).changed_inputs.is_empty());
}
