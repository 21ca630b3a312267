//! What a workbench for somebody else than the user reads and writes: attacks by arguments, projects, runs and models.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use greentune_core_config::{Problem, layout::RunLayout};
use greentune_workbench::{
    Workbench,
    operation::{
        CreateModelCard, EvaluateModel, ExportModel, GetAggregateEmissions, GetEmissionsSummary,
        InspectDataset, ListRuns, MonitorTraining, MonitorTrainingProgress, PrepareDataset, ShowConfig,
        ShowRun, StartTraining,
    },
};
use serde_json::json;

use crate::sandbox::{Sandbox, manifest, overrides, problem, project_request};

const SECRET: &str = "canary-c8d1";

/// A project with a trained run, and a workbench that may use the project alone.
struct Guarded {
    sandbox: Sandbox,
    run: RunLayout,
    workbench: Workbench,
}

impl Guarded {
    async fn new() -> Self {
        let sandbox = Sandbox::new("trains").await;
        // The base model belongs to the project, which is all that may be used.
        let base = sandbox.project.root().join("base");
        fs::create_dir(&base).unwrap();
        for entry in fs::read_dir(sandbox.root().join("base")).unwrap().flatten() {
            fs::copy(entry.path(), base.join(entry.file_name())).unwrap();
        }
        let config = fs::read_to_string(sandbox.project.config()).unwrap();
        let outside = sandbox.root().join("base").display().to_string();
        let inside = config.replace(&outside, &base.display().to_string());
        assert_ne!(config, inside);
        fs::write(sandbox.project.config(), inside).unwrap();
        let run = sandbox.configured().await;
        sandbox.start(&run, true).await.unwrap();
        let mut config = sandbox.config("trains");
        config.allowed_roots = Some(vec![sandbox.project.root().to_owned()]);
        fs::write(sandbox.root().join("secret.csv"), format!("{SECRET}\n{SECRET}\n")).unwrap();
        Self { workbench: Workbench::new(config), run, sandbox }
    }

    fn project(&self) -> PathBuf {
        self.sandbox.project.root().to_owned()
    }

    fn secret(&self) -> PathBuf {
        self.sandbox.root().join("secret.csv")
    }

    /// What every operation that takes a path says to `path`.
    async fn refusals(&self, path: &Path) -> Vec<(&'static str, Problem)> {
        let (workbench, project) = (&self.workbench, Some(self.project()));
        let run_id = self.run.run_id();
        let mut request = self.sandbox.request();
        request.training_data.train_dataset = path.to_owned();
        let configured = workbench.configure_training_run(request).await.map(drop);
        let mut settings = self.sandbox.request();
        settings.override_params = overrides(json!({ "base_model.local_path": path }));
        let model = workbench.configure_training_run(settings).await.map(drop);
        let carbon = |key: &str| ShowConfig {
            project_path: project.clone(),
            override_params: overrides(json!({ key: path })),
        };
        let inspect = InspectDataset {
            project_path: self.project(),
            dataset: path.into(),
            ..InspectDataset::default()
        };
        let prepare = PrepareDataset {
            project_path: self.project(),
            datasets: vec![path.into()],
            ..PrepareDataset::default()
        };
        let evaluate = EvaluateModel {
            project_path: project.clone(),
            run_id: run_id.clone(),
            test_dataset: path.into(),
            stage: 1,
            generate_records: None,
            ..EvaluateModel::default()
        };
        let summary = GetEmissionsSummary {
            project_path: project.clone(),
            run_id: path.to_string_lossy().into_owned(),
        };
        let aggregate = GetAggregateEmissions { project_path: None, files: vec![path.into()] };
        let images = StartTraining {
            dataset: Some(path.into()),
            model: Some("simplecnn".into()),
            ..StartTraining::default()
        };
        let elsewhere = ListRuns::all(Some(path.into()));
        [
            ("configure", configured),
            ("base model", model),
            ("calibration", workbench.show_config(carbon("carbon.calibration_file")).await.map(drop)),
            ("equivalences", workbench.show_config(carbon("carbon.equivalences_file")).await.map(drop)),
            ("inspect", workbench.inspect_dataset(inspect).await.map(drop)),
            ("prepare", workbench.prepare_dataset(prepare).await.map(drop)),
            ("evaluate", workbench.evaluate_model(evaluate).await.map(drop)),
            ("summary", workbench.get_emissions_summary(summary).await.map(drop)),
            ("aggregate", workbench.get_aggregate_emissions(aggregate).await.map(drop)),
            ("images", workbench.start_training(images).await.map(drop)),
            ("project", workbench.list_runs(elsewhere).await.map(drop)),
        ]
        .map(|(name, outcome)| {
            (name, outcome.err().map_or_else(|| panic!("{name} used {}", path.display()), problem))
        })
        .into()
    }

    /// What every operation that writes where it is told says to `path`.
    async fn refusals_to_write(&self, path: &Path) -> Vec<(&'static str, Problem)> {
        let (workbench, project) = (&self.workbench, Some(self.project()));
        let run_id = self.run.run_id();
        let card = CreateModelCard { overwrite: Some(true), ..self.card(path) };
        let export = ExportModel {
            project_path: project.clone(),
            run_id: run_id.clone(),
            stage: 1,
            export_path: path.into(),
            ..ExportModel::default()
        };
        let prepare = PrepareDataset {
            project_path: self.project(),
            datasets: vec!["data/processed/train.jsonl".into()],
            output_dir: Some(path.into()),
            force: Some(true),
            ..PrepareDataset::default()
        };
        let mut generate = project_request(path, "new");
        generate.output_dir = path.into();
        [
            ("card", workbench.create_model_card(card).await.map(drop)),
            ("export", workbench.export_model(export).await.map(drop)),
            ("prepare", workbench.prepare_dataset(prepare).await.map(drop)),
            ("generate", workbench.generate_fine_tuning_project(generate).await.map(drop)),
        ]
        .map(|(name, outcome)| {
            (name, outcome.err().map_or_else(|| panic!("{name} used {}", path.display()), problem))
        })
        .into()
    }

    fn card(&self, path: &Path) -> CreateModelCard {
        CreateModelCard {
            project_path: Some(self.project()),
            run_id: self.run.run_id(),
            output_path: Some(path.to_owned()),
            ..CreateModelCard::default()
        }
    }

    async fn start(&self) -> Problem {
        let request =
            StartTraining { project_path: Some(self.project()), ..StartTraining::of(self.run.run_id()) };
        problem(self.workbench.start_training(request).await.unwrap_err())
    }
}

#[tokio::test]
async fn what_lies_outside_is_neither_read_nor_found_out() {
    let guarded = Guarded::new().await;
    let missing = guarded.sandbox.root().join("missing.csv");
    let there = guarded.refusals(&guarded.secret()).await;
    let absent = guarded.refusals(&missing).await;
    for ((name, there), (_, absent)) in there.iter().zip(&absent) {
        assert_eq!(there.code, "path.outside_roots", "{name}: {there:?}");
        let same = there.message.replace("secret.csv", "missing.csv");
        assert_eq!(same, absent.message, "{name} tells what is there");
        assert!(there.message.contains(&*guarded.project().to_string_lossy()), "{name}: {there:?}");
        assert!(there.hint.as_ref().unwrap().contains("--allow-dir"), "{name}: {there:?}");
        assert!(!format!("{there:?}").contains(SECRET), "{name}: {there:?}");
    }
    // Nor does an error of the system tell it: nothing lies below a file.
    for (name, refusal) in guarded.refusals(&guarded.secret().join("below.csv")).await {
        assert_eq!(refusal.code, "path.outside_roots", "{name}: {refusal:?}");
    }
    for (name, refusal) in guarded.refusals_to_write(&guarded.sandbox.root().join("new")).await {
        assert_eq!(refusal.code, "path.outside_roots", "{name}: {refusal:?}");
    }
    assert!(!guarded.sandbox.root().join("new").exists());
}

#[tokio::test]
async fn devices_and_the_kernels_files_are_outside() {
    let guarded = Guarded::new().await;
    for path in ["/dev/zero", "/proc/self/environ", "/etc/passwd"] {
        for (name, refusal) in guarded.refusals(Path::new(path)).await {
            assert_eq!(refusal.code, "path.outside_roots", "{name}: {refusal:?}");
        }
    }
}

#[tokio::test]
async fn files_of_credentials_are_refused_by_name_inside_the_roots() {
    let guarded = Guarded::new().await;
    for name in ["id_rsa", ".env", ".npmrc", "server.pem", ".ssh/known.csv", ".git/config"] {
        let path = guarded.project().join("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, SECRET).unwrap();
        for (operation, refusal) in guarded.refusals(&path).await {
            assert_eq!(refusal.code, "path.refused", "{operation} of {name}: {refusal:?}");
            assert!(!format!("{refusal:?}").contains(SECRET), "{operation}: {refusal:?}");
        }
        for (operation, refusal) in guarded.refusals_to_write(&path).await {
            assert_eq!(refusal.code, "path.refused", "{operation} of {name}: {refusal:?}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), SECRET);
    }
    // A link of a harmless name is judged by what it leads to.
    let link = guarded.project().join("data/harmless.csv");
    symlink(guarded.project().join("data/id_rsa"), &link).unwrap();
    assert!(guarded.refusals(&link).await.iter().all(|(_, refusal)| refusal.code == "path.refused"));
    // And one of a harmless file by its own name, by which other programs look for it.
    let (link, target) =
        (guarded.project().join("data/.netrc"), guarded.project().join("data/harmless.jsonl"));
    fs::write(&target, "{}\n").unwrap();
    symlink(&target, &link).unwrap();
    assert!(guarded.refusals(&link).await.iter().all(|(_, refusal)| refusal.code == "path.refused"));
}

#[tokio::test]
async fn a_run_outside_is_unknown_by_a_part_of_its_name_and_by_its_job() {
    let guarded = Guarded::new().await;
    let run = &guarded.run;
    let mut written: serde_json::Value = serde_json::from_slice(&fs::read(run.manifest()).unwrap()).unwrap();
    written["platform"]["job_id"] = "job-7".into();
    fs::write(run.manifest(), written.to_string()).unwrap();
    let elsewhere = guarded.sandbox.root().join("of somebody else");
    fs::create_dir(&elsewhere).unwrap();
    let mut config = guarded.sandbox.config("trains");
    config.allowed_roots = Some(vec![elsewhere]);
    let other = Workbench::new(config);
    let (id, name) = (run.run_id(), written["run_name"].as_str().unwrap().to_owned());
    for named in [&name, &id[..name.len() + 3], "job-7"] {
        let show = ShowRun { project_path: None, run_id: named.into() };
        let job = MonitorTraining { job_id: named.into(), ..MonitorTraining::default() };
        for refusal in [other.show_run(show).await.map(drop), other.monitor_training(job).await.map(drop)] {
            let refusal = problem(refusal.unwrap_err());
            assert_eq!(refusal.code, "run.unknown", "{named}: {refusal:?}");
            assert!(!format!("{refusal:?}").contains(&id), "{named}: {refusal:?}");
        }
    }
    let job = MonitorTraining { job_id: "job-7".into(), ..MonitorTraining::default() };
    assert_eq!(
        guarded.workbench.monitor_training(job).await.unwrap().job_id,
        id,
        "its own workbench finds it"
    );
}

#[tokio::test]
async fn a_card_is_no_program_and_replaces_only_what_greentune_wrote() {
    let guarded = Guarded::new().await;
    let overwrite = |path: &Path| CreateModelCard { overwrite: Some(true), ..guarded.card(path) };
    for name in [".bashrc", "run.sh", ".envrc", "CLAUDE.md", ".github/copilot-instructions.md"] {
        let path = guarded.project().join(name);
        let refusal = problem(guarded.workbench.create_model_card(guarded.card(&path)).await.unwrap_err());
        assert!(["path.refused", "request.value"].contains(&refusal.code.as_str()), "{name}: {refusal:?}");
        assert!(!path.exists(), "{name}");
    }
    let notes = guarded.project().join("NOTES.md");
    fs::write(&notes, "the user's").unwrap();
    let refusal = problem(guarded.workbench.create_model_card(overwrite(&notes)).await.unwrap_err());
    assert_eq!(refusal.code, "path.not_greentunes");
    assert_eq!(fs::read_to_string(&notes).unwrap(), "the user's");

    let card = guarded.project().join("MODEL_CARD.md");
    guarded.workbench.create_model_card(guarded.card(&card)).await.unwrap();
    guarded.workbench.create_model_card(overwrite(&card)).await.expect("it is greentune's own");
    fs::write(&card, "edited").unwrap();
    let refusal = problem(guarded.workbench.create_model_card(overwrite(&card)).await.unwrap_err());
    assert_eq!(refusal.code, "path.not_greentunes", "an edited card is its user's");
    // The README of a new project is greentune's until somebody writes in it. A person's own shell replaces anything.
    let readme = guarded.project().join("README.md");
    guarded.workbench.create_model_card(overwrite(&readme)).await.expect("it came with the project");
    guarded.sandbox.workbench.create_model_card(overwrite(&notes)).await.expect("the user's own wish");
}

#[tokio::test]
async fn a_preparation_replaces_only_what_greentune_wrote() {
    let guarded = Guarded::new().await;
    let out = guarded.project().join("kept");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("validation.jsonl"), "the user's").unwrap();
    let prepare = PrepareDataset {
        project_path: guarded.project(),
        datasets: vec!["data/processed/train.jsonl".into()],
        output_dir: Some("kept".into()),
        force: Some(true),
        ..PrepareDataset::default()
    };
    let refusal = problem(guarded.workbench.prepare_dataset(prepare.clone()).await.unwrap_err());
    assert_eq!(refusal.code, "path.not_greentunes");
    guarded.sandbox.workbench.prepare_dataset(prepare).await.expect("the user's own wish");
}

#[tokio::test]
async fn links_of_a_project_and_a_run_lead_nowhere_else() {
    let guarded = Guarded::new().await;
    let outside = guarded.sandbox.root().join("elsewhere");
    let (project, run) = (guarded.project(), &guarded.run);
    let stage = run.stage(1);
    let places = [
        project.join("emissions"),
        project.join("logs"),
        project.join("runs"),
        project.join("config/fine_tuning_config.toml"),
        project.join("config/model_config.json"),
        run.events(),
        run.manifest(),
        stage.join("adapters"),
        stage,
        run.log(),
        run.folder().to_owned(),
    ];
    // Folders that have lain still so long are remembered once they were looked through.
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let request = ShowRun { project_path: None, run_id: run.run_id() };
    guarded.workbench.show_run(request).await.unwrap();
    for place in places {
        fs::rename(&place, &outside).unwrap_or_else(|error| panic!("{place:?}: {error}"));
        symlink(&outside, &place).unwrap();
        for project_path in [Some(project.clone()), None] {
            let request = MonitorTrainingProgress {
                project_path: project_path.clone(),
                run_id: run.run_id(),
                include_emissions: None,
            };
            let refusal = problem(guarded.workbench.monitor_training_progress(request).await.unwrap_err());
            let codes = ["path.outside_roots", "path.outside_project"];
            assert!(codes.contains(&refusal.code.as_str()), "{place:?} {project_path:?}: {refusal:?}");
        }
        fs::remove_file(&place).unwrap();
        fs::rename(&outside, &place).unwrap();
    }
    let request = ShowRun { project_path: None, run_id: run.run_id() };
    guarded.workbench.show_run(request).await.expect("everything is where it was");
}

#[tokio::test]
async fn runs_behind_a_link_are_not_listed() {
    let guarded = Guarded::new().await;
    let elsewhere = guarded.sandbox.root().join("elsewhere");
    fs::rename(guarded.run.folder(), &elsewhere).unwrap();
    symlink(&elsewhere, guarded.run.folder()).unwrap();
    for project_path in [None, Some(guarded.project())] {
        assert_eq!(guarded.workbench.list_runs(ListRuns::all(project_path)).await.unwrap().runs, []);
    }
}

type Change<'a> = &'a dyn Fn(&mut greentune_core_config::manifest::RunManifest);

#[tokio::test]
async fn a_manifest_names_no_file_outside() {
    let guarded = Guarded::new().await;
    let honest = fs::read_to_string(guarded.run.manifest()).unwrap();
    let outside = guarded.secret();
    let write = |change: &dyn Fn(&mut greentune_core_config::manifest::RunManifest)| {
        let mut hostile = manifest(&guarded.run);
        change(&mut hostile);
        fs::write(guarded.run.manifest(), serde_json::to_string(&hostile).unwrap()).unwrap();
    };
    let export = || ExportModel {
        project_path: Some(guarded.project()),
        run_id: guarded.run.run_id(),
        stage: 1,
        export_path: "exported".into(),
        merge_adapters: Some(true),
        ..ExportModel::default()
    };
    let changes: [(&str, Change); 5] = [
        ("base model", &|run| run.base_model_path = guarded.sandbox.root().join("base")),
        ("data", &|run| run.data.train.clone_from(&outside)),
        ("stage 2", &|run| run.data.stage2_validation = Some(outside.clone())),
        ("calibration", &|run| run.settings.carbon.calibration_file = Some(PathBuf::from("/dev/zero"))),
        ("hash", &|run| drop(run.input_hashes.insert(outside.display().to_string(), "0".repeat(64)))),
    ];
    for (name, change) in changes {
        fs::write(guarded.run.manifest(), &honest).unwrap();
        write(change);
        let refusal = problem(guarded.workbench.export_model(export()).await.unwrap_err());
        assert_eq!(refusal.code, "path.outside_roots", "{name}: {refusal:?}");
        write(&|run| {
            run.status = greentune_core_config::manifest::RunStatus::NotStarted;
            for stage in &mut run.stages {
                stage.status = greentune_core_config::manifest::RunStatus::NotStarted;
            }
        });
        let _ = fs::remove_file(guarded.run.events());
        let refusal = guarded.start().await;
        assert_eq!(refusal.code, "path.outside_roots", "{name}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_models_folder_lends_no_file_from_elsewhere() {
    let guarded = Guarded::new().await;
    symlink(guarded.secret(), guarded.project().join("base/chat_template.jinja")).unwrap();
    let request = InspectDataset {
        project_path: guarded.project(),
        dataset: "data/processed/train.jsonl".into(),
        ..InspectDataset::default()
    };
    let refusal = problem(guarded.workbench.inspect_dataset(request).await.unwrap_err());
    assert_eq!(refusal.code, "path.outside_roots", "{refusal:?}");
}

#[tokio::test]
async fn the_users_own_settings_may_name_any_file() {
    let guarded = Guarded::new().await;
    let factors = guarded.sandbox.root().join("factors.toml");
    fs::write(&factors, "").unwrap();
    let mut config = guarded.workbench.config().clone();
    let user_file = guarded.sandbox.root().join("config.toml");
    fs::write(&user_file, format!("[carbon]\nequivalences_file = {factors:?}\n")).unwrap();
    config.user_config = Some(user_file);
    let request = ShowConfig { project_path: Some(guarded.project()), override_params: None };
    Workbench::new(config).show_config(request).await.expect("the user said so");
}

#[tokio::test]
async fn a_request_sets_no_server_that_the_user_has_not_named() {
    let guarded = Guarded::new().await;
    let configure = async |key: &str, address: &str| {
        let mut request = guarded.sandbox.request();
        request.override_params.get_or_insert_default().insert(key.to_owned(), json!(address));
        guarded.workbench.configure_training_run(request).await
    };
    for key in ["mlflow.tracking_uri", "carbon.emissions_endpoint"] {
        // Neither another machine nor another program of this one.
        for address in ["https://evil.example/v3", "http://127.0.0.1:2375"] {
            let refusal = problem(configure(key, address).await.unwrap_err());
            assert_eq!(refusal.code, "address.not_allowed", "{key}: {refusal:?}");
            assert!(refusal.hint.unwrap().contains("GREENTUNE_ALLOWED_HOSTS"));
        }
        let refusal = problem(configure(key, "https://ada:canary@evil.example").await.unwrap_err());
        assert!(!format!("{refusal:?}").contains("canary"), "{key}: {refusal:?}");
        let show = ShowConfig {
            project_path: Some(guarded.project()),
            override_params: overrides(json!({ key: "https://evil.example" })),
        };
        let refusal = problem(guarded.workbench.show_config(show).await.unwrap_err());
        assert_eq!(refusal.code, "address.not_allowed", "{key}: {refusal:?}");
    }
    configure("mlflow.tracking_uri", "http://localhost:5000").await.expect("it is built in");
    configure("carbon.emissions_endpoint", "https://api.electricitymap.org/v3").await.expect("the service");
    let mut project = project_request(&guarded.project(), "another");
    project.integrations =
        serde_json::from_value(json!({ "mlflow_tracking_uri": "https://evil.example" })).unwrap();
    let refusal = problem(guarded.workbench.generate_fine_tuning_project(project).await.unwrap_err());
    assert_eq!(refusal.code, "address.not_allowed");
}

#[tokio::test]
async fn a_named_pipe_is_refused_and_not_waited_for() {
    let guarded = Guarded::new().await;
    let pipe = guarded.project().join("data/processed/pipe.csv");
    make_pipe(&pipe);
    let asked = tokio::time::timeout(PATIENCE, guarded.refusals(&pipe)).await.expect("answers");
    for (name, refusal) in asked {
        assert!(["path.no_file", "run.unknown"].contains(&refusal.code.as_str()), "{name}: {refusal:?}");
    }
    fs::remove_file(&pipe).unwrap();

    let emissions = guarded.sandbox.project.emissions().join("other_stage1_emissions.csv");
    for place in [guarded.run.events(), guarded.run.heartbeat(), emissions] {
        let _ = fs::remove_file(&place);
        make_pipe(&place);
        let request = MonitorTrainingProgress {
            run_id: guarded.run.run_id(),
            project_path: Some(guarded.project()),
            ..MonitorTrainingProgress::default()
        };
        let monitored = guarded.workbench.monitor_training_progress(request);
        let monitored = tokio::time::timeout(PATIENCE, monitored).await.expect("an answer");
        assert_eq!(problem(monitored.unwrap_err()).code, "path.no_file", "{}", place.display());
        fs::remove_file(&place).unwrap();
    }

    let config = guarded.project().join("base/config.json");
    fs::remove_file(&config).unwrap();
    make_pipe(&config);
    let configured = guarded.workbench.configure_training_run(guarded.sandbox.request());
    let configured = tokio::time::timeout(PATIENCE, configured).await.expect("an answer");
    assert_eq!(problem(configured.unwrap_err()).code, "path.no_file");
}

#[tokio::test]
async fn files_without_end_are_refused_and_not_read_to_it() {
    let guarded = Guarded::new().await;
    let project = &guarded.sandbox.project;
    let emissions = project.emissions().join(format!("{}_stage1_emissions.csv", guarded.run.run_id()));
    fs::create_dir_all(project.emissions()).unwrap();
    for place in [project.config(), guarded.run.manifest(), emissions] {
        let before = fs::read(&place).ok();
        // It takes no room on the disk, and would fill any memory.
        fs::File::create(&place).unwrap().set_len(1 << 40).unwrap();
        let request =
            GetEmissionsSummary { run_id: guarded.run.run_id(), project_path: Some(guarded.project()) };
        let show = ShowConfig { project_path: Some(guarded.project()), override_params: None };
        let asked = async {
            guarded.workbench.show_config(show).await.map(drop)?;
            guarded.workbench.get_emissions_summary(request).await.map(drop)
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await.expect("an answer");
        let refused = problem(answered.unwrap_err());
        assert!(refused.message.contains("it is larger than"), "{}: {refused}", place.display());
        fs::remove_file(&place).unwrap();
        if let Some(before) = before {
            fs::write(&place, before).unwrap();
        }
    }
}

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn make_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}
