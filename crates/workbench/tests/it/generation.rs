//! Models that answer prompts: which ones, what is heard meanwhile, what is refused.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use greentune_core_config::{
    generation::GenerationNote,
    layout::RunLayout,
    port::{TransferProgress, TransferReporter},
};
use greentune_workbench::{Observer, operation::GenerateText};

use crate::sandbox::{Sandbox, problem};

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<GenerationNote>>);

impl TransferReporter for Ear {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for Ear {
    fn generates(&self, note: &GenerationNote) {
        self.0.lock().unwrap().push(note.clone());
    }
}

async fn trained() -> (Sandbox, RunLayout) {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    sandbox.start(&run, true).await.unwrap();
    (sandbox, run)
}

fn asking(run: &RunLayout, prompts: &[&str]) -> GenerateText {
    GenerateText {
        run_id: Some(run.run_id()),
        prompts: prompts.iter().map(ToString::to_string).collect(),
        ..GenerateText::default()
    }
}

/// Who answers the first prompt.
async fn models(sandbox: &Sandbox, request: GenerateText) -> Vec<String> {
    let response = sandbox.workbench.generate_text(request).await.unwrap();
    response.generations[0].answers.iter().map(|answer| answer.model.clone()).collect()
}

#[tokio::test]
async fn base_and_stages_answer_each_prompt_and_are_heard_meanwhile() {
    let (sandbox, run) = trained().await;
    let ear = Arc::<Ear>::default();
    let workbench = sandbox.workbench.reporting(Arc::clone(&ear) as _);
    let response = workbench.generate_text(asking(&run, &["Who?", "Why?"])).await.unwrap();
    let prompts: Vec<_> = response.generations.iter().map(|generation| generation.prompt.as_str()).collect();
    assert_eq!(prompts, ["Who?", "Why?"]);
    let texts: Vec<_> = response.generations[1].answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(texts, ["I am base", "I am stage 1", "I am stage 2"]);
    let heard = ear.0.lock().unwrap();
    assert_eq!(heard.len(), 2 * 3 * 3);
    assert_eq!(heard[3], GenerationNote::Begins { prompt: 0, model: String::from("stage 1") });
    assert_eq!(heard[4], GenerationNote::Writes { text: String::from("I am stage 1") });
    assert!(matches!(&heard[5], GenerationNote::Ends(text) if text.tokens == 3));
}

#[tokio::test]
async fn who_answers_is_chosen() {
    let (sandbox, run) = trained().await;
    let request = GenerateText { stage: Some(2), with_base: Some(false), ..asking(&run, &["Who?"]) };
    assert_eq!(models(&sandbox, request).await, ["stage 2"]);
    let folder = sandbox.root().join("base");
    let request = GenerateText { model_path: Some(folder.clone()), ..asking(&run, &["Who?"]) };
    assert_eq!(models(&sandbox, request).await, ["base", "stage 1", "stage 2", "base"]);
    let alone = GenerateText { run_id: None, model_path: Some(folder), ..asking(&run, &["Who?"]) };
    assert_eq!(models(&sandbox, alone).await, ["base"]);
}

#[tokio::test]
async fn what_cannot_answer_is_refused_with_the_way_out() {
    let (sandbox, run) = trained().await;
    let adapters = sandbox.root().join("adapters");
    fs::create_dir(&adapters).unwrap();
    fs::write(adapters.join("adapter_config.json"), "{}").unwrap();
    let ask = || asking(&run, &["Who?"]);
    let of_folder =
        |folder| GenerateText { run_id: None, model_path: Some(folder), ..asking(&run, &["Who?"]) };
    for (request, code, says) in [
        (GenerateText { run_id: None, ..ask() }, "request.value", "neither a run nor a model"),
        (GenerateText { prompts: Vec::new(), ..ask() }, "request.value", "1 to 64 prompts"),
        (GenerateText { prompts: vec![String::new()], ..ask() }, "request.value", "an empty prompt"),
        (GenerateText { max_tokens: Some(0), ..ask() }, "request.value", "1 to 131072"),
        (GenerateText { stage: Some(3), ..ask() }, "request.value", "1 to 2"),
        (of_folder(adapters), "request.value", "adapters can be merged when they are exported"),
        (of_folder(sandbox.root().join("nowhere")), "model.missing", "nowhere"),
    ] {
        let error = problem(sandbox.workbench.generate_text(request).await.unwrap_err());
        assert_eq!(error.code, code, "{}", error.message);
        assert!(error.message.contains(says), "{}", error.message);
    }
    let untrained = Sandbox::new("trains").await;
    let run = untrained.configured().await;
    let error = problem(untrained.workbench.generate_text(asking(&run, &["Who?"])).await.unwrap_err());
    assert_eq!(error.code, "run.stage_not_trained");
}
