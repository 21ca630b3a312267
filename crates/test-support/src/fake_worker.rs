//! A worker that speaks the protocol without training anything: the test binary, executed again.
//!
//! A test crate has a module `fake_worker` with one ignored test `act` that calls [`act`]; [`command`] is the worker
//! command that executes it. Modes: `trains` (a step takes 5 ms), `slow` (100 ms), `fails` (at step 2, and at every
//! task), `dies-in-the-middle` (at step 3), `dies-at-once`, `refuses-data` (when a run is configured), `never-evaluates`.

use std::{env, ffi::OsString, io, path::Path, process, thread, time::Duration};

use greentune_core_config::{
    Problem, ProblemKind,
    agreement::{Agreement, AgreementFindings},
    evaluation::{EvaluatedModel, EvaluationReport, RecordOutputs},
    event::{EmissionsSoFar, EventKind, StepMetrics},
    generation::{GenerateTask, GeneratedText, GenerationEnd, GenerationNote, ModelVariant},
    memory::{MemoryInputs, ModelShape},
    port::RunReporter,
    preparation::{DatasetPreparation, Histogram, LeakReport, PrepareTask, PreparedSplit},
    settings::{DatasetFormat, DatasetSchema, Settings},
    task::{
        CheckDataTask, CheckedDataset, DatasetCounts, DatasetInspection, DeviceReport, EvaluateTask,
        PlanFindings, PlanMeasurement, PlanStage, WorkerAnswer, WorkerTask,
    },
    tuning::{StageTuning, Trial, TuneFindings},
};
use greentune_export::peft::{self, AdapterConfig, LoraPair};
use greentune_workbench::{
    WorkbenchConfig,
    background::perform_task,
    worker::{Outcome, WorkerSession, read_task, write_answer},
};

const MODE: &str = "FAKE_WORKER_MODE";
const ARGUMENTS: &str = "FAKE_WORKER_ARGUMENTS";

/// The worker command of a workbench whose workers act out `mode`.
///
/// # Errors
/// The system does not say which program this is.
pub fn command(mode: &str) -> io::Result<Vec<OsString>> {
    let script = format!(
        "{MODE}={mode} {ARGUMENTS}=\"$*\" exec \"$0\" --exact fake_worker::act --ignored --nocapture"
    );
    Ok(vec!["/bin/sh".into(), "-c".into(), script.into(), env::current_exe()?.into()])
}

/// What the worker process does; nothing when the process is none.
///
/// # Panics
/// The arguments are not those of a worker, or the run cannot be written: the test that waits for it fails.
pub fn act() {
    let (Ok(mode), Ok(arguments)) = (env::var(MODE), env::var(ARGUMENTS)) else { return };
    let arguments: Vec<_> = arguments.split(' ').collect();
    match arguments.as_slice() {
        ["--task", task, "--answer", answer, "--attached"] => {
            do_task(&mode, Path::new(task), Path::new(answer));
        }
        ["--perform", folder] => perform(&mode, Path::new(folder)),
        [run] => train(&mode, Path::new(run)),
        _ => panic!("unknown arguments {arguments:?}"),
    }
}

fn perform(mode: &str, folder: &Path) {
    let home = folder.parent().and_then(Path::parent).unwrap();
    let config = WorkbenchConfig::new(home, command(mode).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(perform_task(folder, config, std::future::pending())).unwrap();
}

fn train(mode: &str, run: &Path) {
    if mode == "dies-at-once" {
        fail_to_load();
    }
    let mut session = WorkerSession::begin(run).unwrap();
    let result = stages(mode, &mut session);
    session.finish(result).unwrap();
}

fn stages(mode: &str, session: &mut WorkerSession) -> Result<Outcome, Problem> {
    let resumed = session.manifest().stages.iter().any(|stage| stage.steps_done > 0);
    session.report(EventKind::Started { pid: process::id(), device: "fake".into(), resumed })?;
    for stage in session.stages() {
        let record = session.manifest().stages[usize::from(stage) - 1].clone();
        session.report(EventKind::StageStarted {
            stage,
            total_steps: record.total_steps,
            from_step: record.steps_done,
            train_records: 1,
            trainable_parameters: 8,
        })?;
        for step in record.steps_done + 1..=record.total_steps {
            thread::sleep(Duration::from_millis(if mode == "slow" { 100 } else { 5 }));
            session.report(step_event(stage, step, record.total_steps))?;
            match mode {
                "dies-in-the-middle" if step == 3 => process::abort(),
                "fails" if step == 2 => {
                    return Err(Problem::new(ProblemKind::InvalidInput, "data.empty", "no records"));
                }
                _ if session.cancel_requested() => return Ok(Outcome::Cancelled { stage, step }),
                _ => {}
            }
        }
        write_adapters(&session.layout().adapters(stage));
        session.report(EventKind::StageFinished {
            stage,
            duration_seconds: 1.5,
            final_train_loss: 0.5,
            emissions: None,
            peak_memory_bytes: Some(90_000_000),
        })?;
    }
    Ok(Outcome::Finished)
}

fn step_event(stage: u8, step: u64, total_steps: u64) -> EventKind {
    EventKind::Step(StepMetrics {
        stage,
        step,
        total_steps,
        train_loss: 1.0 / step as f64,
        learning_rate: 1e-4,
        gradient_norm: 1.0,
        tokens: 10,
        tokens_per_second: 100.0,
        samples: None,
    })
}

fn write_adapters(folder: &Path) {
    let pair = LoraPair {
        module: "model.layers.0.self_attn.q_proj".into(),
        rank: 2,
        in_features: 4,
        out_features: 4,
        a: vec![0.5; 8],
        b: vec![0.25; 8],
        magnitude: None,
    };
    peft::write(folder, &AdapterConfig::lora(2, 4.0, 0.0, vec!["q_proj".into()]), &[pair]).unwrap();
}

fn do_task(mode: &str, task: &Path, answer: &Path) {
    let task = read_task(task).unwrap();
    if mode == "dies-at-once" && !matches!(task, WorkerTask::CheckData(_)) {
        fail_to_load();
    }
    let reply = match task {
        // Whatever a run's worker does later, its data can be trained on.
        WorkerTask::CheckData(task) => WorkerAnswer::DataChecked { datasets: checked(mode, *task) },
        _ if mode == "fails" => WorkerAnswer::Failed {
            problem: Problem::new(ProblemKind::InvalidInput, "data.empty", "no records"),
        },
        // Until who asked is gone.
        WorkerTask::Evaluate(_) if mode == "never-evaluates" => {
            io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
            process::exit(0);
        }
        WorkerTask::Evaluate(task) => WorkerAnswer::Evaluated {
            reports: vec![
                report(&task, EvaluatedModel::Stage(task.stage), 0.8),
                report(&task, EvaluatedModel::Base, 0.1),
            ],
            outputs: written(&task),
        },
        WorkerTask::Generate(task) => WorkerAnswer::Generated { texts: generated(&task) },
        WorkerTask::Agree(_) if mode == "dies-comparing" => process::abort(),
        WorkerTask::Agree(_) => WorkerAnswer::Agreed(compared(mode)),
        WorkerTask::Prepare(task) => WorkerAnswer::Prepared(Box::new(prepared(*task))),
        WorkerTask::Inspect(task) => WorkerAnswer::Inspected(DatasetInspection {
            dataset: task.dataset,
            format: DatasetFormat::Jsonl,
            schema: DatasetSchema::Alpaca,
            template_source: "instruction/response".into(),
            counts: DatasetCounts { read: 10, kept: 9, too_long: 1, ..DatasetCounts::default() },
            // Tells a test what was asked to be shown.
            high_quality_records: task.show as u64,
            tokens_per_record: [1, 2, 3, 4],
            labelled_tokens: 11,
            total_tokens: 22,
            control_tokens: Vec::new(),
            records: Vec::new(),
        }),
        WorkerTask::Plan(task) => WorkerAnswer::Planned(Box::new(findings(task.measure))),
        WorkerTask::Tune(_) => WorkerAnswer::Tuned(Box::new(tuned())),
        WorkerTask::ProbeDevices => WorkerAnswer::Devices {
            devices: vec![DeviceReport { device: "cpu".into(), available: true, detail: "fake".into() }],
        },
    };
    write_answer(answer, &reply).unwrap();
}

/// Each model says its name, and tells of it.
#[allow(clippy::print_stdout)] // a worker's standard output is what it tells
fn generated(task: &GenerateTask) -> Vec<Vec<GeneratedText>> {
    // The test harness leaves a line unfinished.
    println!();
    let tell = |note: &GenerationNote| println!("{}", serde_json::to_string(note).unwrap());
    let answer = |prompt: usize, variant: &ModelVariant| {
        tell(&GenerationNote::Begins { prompt, model: variant.name.clone() });
        tell(&GenerationNote::Writes { text: format!("I am {}", variant.name) });
        let text = GeneratedText {
            model: variant.name.clone(),
            text: format!("I am {}", variant.name),
            prompt_tokens: 2,
            tokens: 3,
            seconds: 0.5,
            ended_by: GenerationEnd::StopToken,
        };
        tell(&GenerationNote::Ends(text.clone()));
        text
    };
    let variants = || task.models.iter().flat_map(|model| &model.variants);
    (0..task.prompts.len())
        .map(|prompt| variants().map(|variant| answer(prompt, variant)).collect())
        .collect()
}

/// A perfect export, or one that is another model, does not stop (by far, or by rounding), or cannot be read or compared.
fn compared(mode: &str) -> AgreementFindings {
    let perfect = Agreement {
        prompts: 3,
        same_prompts: 3,
        positions: 9,
        top1_agreement: 1.0,
        same_texts: 3,
        largest_difference: 0.125,
        ended: 2,
        ended_too: 2,
        ..Agreement::default()
    };
    let runs_on = Agreement { same_texts: 2, ended_too: 1, runs_on: 1, ..perfect };
    AgreementFindings::Compared(match mode {
        "cannot-compare" => {
            return AgreementFindings::NotComparable { why: String::from("the trained model is too small") };
        }
        "cannot-read-export" => {
            let problem = Problem::new(ProblemKind::InvalidInput, "model.broken", "the header is broken");
            return AgreementFindings::Unreadable { problem };
        }
        "exports-another-model" => Agreement { kl_nats: 3.0, ..perfect },
        "export-runs-on" => Agreement { stop_lead: 4.0, ..runs_on },
        "export-runs-on-by-rounding" => Agreement { stop_lead: 0.25, ..runs_on },
        _ => perfect,
    })
}

/// Two stages, of which the second has a larger batch.
fn tuned() -> TuneFindings {
    let stage = |stage, learning_rate, batch_size| StageTuning {
        stage,
        first_loss: 2.0,
        trials: vec![Trial { learning_rate, batch_size, steps: 4, of_steps: 4, validation_loss: Some(0.5) }],
        learning_rate,
        batch_size,
    };
    let emissions = EmissionsSoFar {
        stage: 0,
        duration_seconds: 3.0,
        energy_kwh: 1e-5,
        emissions_kg_co2: 4e-6,
        power_w: 12.0,
        power: None,
        basis: String::from("modelled"),
    };
    TuneFindings {
        device: String::from("fake"),
        stages: vec![stage(1, 3e-4, 4), stage(2, 1e-4, 8)],
        duration_seconds: 3.0,
        emissions: Some(emissions),
        not_metered: None,
    }
}

/// Data sets of ten records; in the mode `refuses-data` none of them can be used.
fn checked(mode: &str, task: CheckDataTask) -> Vec<CheckedDataset> {
    let is_refused = mode == "refuses-data";
    let problem = || Problem::new(ProblemKind::InvalidInput, "data.empty", "no record can be used");
    let counts =
        DatasetCounts { read: 10, kept: if is_refused { 0 } else { 10 }, ..DatasetCounts::default() };
    task.datasets
        .into_iter()
        .map(|dataset| CheckedDataset {
            dataset,
            is_complete: true,
            counts: counts.clone(),
            problem: is_refused.then(problem),
        })
        .collect()
}

/// Two stages of 1000 tokens each, at 100 tokens per second.
fn findings(measure: bool) -> PlanFindings {
    let config = serde_json::json!({
        "model_type": "olmo2", "vocab_size": 100, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 64,
    });
    let stage = |stage| PlanStage { stage, tokens: 1000, largest_batch_tokens: 50, ..PlanStage::default() };
    PlanFindings {
        device: "fake".into(),
        on_cpu: true,
        shape: ModelShape::from_config(&config.to_string()).unwrap(),
        memory: MemoryInputs { batch_tokens: 50, ..MemoryInputs::new(&Settings::default()) },
        largest_stage: 1,
        stages: vec![stage(1), stage(2)],
        measured: measure.then(|| PlanMeasurement {
            loading_seconds: 1.0,
            step_tokens_per_second: vec![(1, vec![100.0, 100.0]), (2, vec![100.0])],
            evaluation_tokens_per_second: 200.0,
            generation_tokens_per_second: None,
            power_w: Some(20.0),
            power_basis: "modelled".into(),
            power_uncertainty: 0.5,
            power_factors: None,
        }),
    }
}

fn report(task: &EvaluateTask, model: EvaluatedModel, token_accuracy: f64) -> EvaluationReport {
    EvaluationReport {
        model,
        dataset_role: "test".into(),
        dataset: task.dataset.clone(),
        records: 4,
        tokens: 40,
        loss: 1.0,
        perplexity: std::f64::consts::E,
        token_accuracy,
        exact_match: Some(0.5),
        bleu: None,
        generated_records: task.generate_records as u64,
        samples: Vec::new(),
        choice_form: None,
        figures: Vec::new(),
    }
}

/// Two records that the stage answers well and the base does not.
fn written(task: &EvaluateTask) -> Vec<RecordOutputs> {
    let stage = EvaluatedModel::Stage(task.stage).to_string();
    let record = |reference: &str| RecordOutputs {
        prompt: format!("Say {reference}."),
        reference: reference.to_owned(),
        outputs: [(stage.clone(), reference.to_owned()), (String::from("base"), String::from("hm"))].into(),
    };
    ["one", "two"].into_iter().take(task.generate_records).map(record).collect()
}

#[allow(clippy::print_stderr)] // a worker's standard error is the run's log
fn fail_to_load() -> ! {
    eprintln!("the libraries could not be loaded");
    process::exit(3);
}

/// What would come of a preparation of ten records, one of them a duplicate.
fn prepared(task: PrepareTask) -> DatasetPreparation {
    DatasetPreparation {
        tokens_counted: task.base_model_path.is_some(),
        schema: DatasetSchema::Alpaca,
        seed: task.seed,
        counts: DatasetCounts { read: 10, kept: 10, ..DatasetCounts::default() },
        duplicates: 1,
        deduplicated: task.deduplicate,
        splits: vec![PreparedSplit {
            name: "train".into(),
            path: task.out.join("train.jsonl"),
            records: 9,
            high_quality_records: 3,
            high_quality_draws: task.settings.dataset.train_split,
            tokens: 90,
            labelled_tokens: 30,
        }],
        leaks: LeakReport::default(),
        tokens: Histogram::default(),
        label_share: Histogram::default(),
        quality: None,
        quality_words: Vec::new(),
        warnings: vec!["a warning".into()],
        report: task.reports.join("raw.md"),
        report_files: Vec::new(),
        datasets: task.datasets,
    }
}
