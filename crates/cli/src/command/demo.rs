//! `greentune demo`: the whole workflow, offline, in about a minute.

mod plan;
mod story;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use greentune_carbon::summary::EmissionsSummary;
use greentune_core_config::manifest::RunManifest;
use greentune_workbench::{
    ExportFormat, Workbench,
    operation::{ExportModel, ExportModelResponse, GetEmissionsSummary, ShowRun, StartTraining},
};
use serde::Serialize;

use crate::{bundle, failure::Failure, progress::Follower, session::Session};

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Folder of the project; absent or empty [default: greentune-demo, or the next free greentune-demo-N]
    #[arg(long, alias = "dir", value_name = "DIR")]
    to: Option<PathBuf>,
}

/// What the demo made.
#[derive(Debug, Serialize)]
struct DemoResponse {
    project_path: PathBuf,
    manifest: RunManifest,
    exports: Vec<ExportModelResponse>,
    emissions: Option<EmissionsSummary>,
    duration_seconds: f64,
}

impl Demo {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let began = Instant::now();
        let output = session.output;
        let workbench = session.workbench()?;
        let folder = self.to.map_or_else(|| free_folder(session), |dir| session.here(&dir));
        output.say(story::opening)?;

        let project = workbench.generate_fine_tuning_project(plan::project(&folder)).await?.project_path;
        let records = bundle::unpack(&project)?;
        output.say(|paint| story::project(&project, records, paint))?;

        let configured = workbench.configure_training_run(plan::run(&project)?).await?;
        output.say(|paint| story::run(&configured, paint))?;

        train(session, &workbench, &project, &configured.run_id).await?;
        let run_id = configured.run_id;
        let of_run = ShowRun { project_path: Some(project.clone()), run_id: run_id.clone() };
        let manifest = workbench.show_run(of_run).await?.manifest;
        output.say(|paint| story::results(&manifest, paint))?;

        let exports = export(&workbench, &project, &run_id).await?;
        output.say(|paint| story::exports(&exports, paint))?;

        let of_run = GetEmissionsSummary { project_path: Some(project.clone()), run_id };
        let emissions = if manifest.settings.carbon.enabled {
            Some(workbench.get_emissions_summary(of_run).await?)
        } else {
            None
        };
        output.say(|paint| story::emissions(emissions.as_ref(), paint))?;

        let duration_seconds = began.elapsed().as_secs_f64();
        let response = DemoResponse { project_path: project, manifest, exports, emissions, duration_seconds };
        let (project, run_id) = (&response.project_path, &response.manifest.run_id);
        output.answer(&response, |paint| story::next(project, run_id, duration_seconds, paint))
    }
}

async fn train(
    session: &Session,
    workbench: &Workbench,
    project: &Path,
    run_id: &str,
) -> Result<(), Failure> {
    let request = StartTraining {
        project_path: Some(project.to_owned()),
        async_mode: Some(false),
        ..StartTraining::of(run_id)
    };
    session.output.say(story::training)?;
    let (workbench, project) = (workbench.clone(), Some(project.to_owned()));
    let mut follower = Follower::new(workbench.clone(), project, run_id.to_owned(), session.output).await?;
    follower.during(|| Ok(()), |workbench| async move { workbench.start_training(request).await }).await?;
    Ok(())
}

async fn export(
    workbench: &Workbench,
    project: &Path,
    run_id: &str,
) -> Result<Vec<ExportModelResponse>, Failure> {
    let mut exports = Vec::new();
    for (folder, merge) in [("exports/merged", true), ("exports/adapter", false)] {
        let request = ExportModel {
            project_path: Some(project.to_owned()),
            run_id: run_id.to_owned(),
            stage: 2,
            export_format: ExportFormat::Huggingface,
            export_path: project.join(folder),
            merge_adapters: Some(merge),
            ..ExportModel::default()
        };
        exports.push(workbench.export_model(request).await?);
    }
    Ok(exports)
}

/// `greentune-demo` in the current folder, or the first `greentune-demo-N` that nobody uses.
fn free_folder(session: &Session) -> PathBuf {
    let is_free = |folder: &PathBuf| match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !folder.exists(),
    };
    let first = session.here(Path::new("greentune-demo"));
    let others = (2_u32..).map(|number| session.here(Path::new(&format!("greentune-demo-{number}"))));
    std::iter::once(first.clone()).chain(others).find(is_free).unwrap_or(first)
}
