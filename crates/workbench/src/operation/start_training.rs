//! Hands a run to a worker.

use std::path::PathBuf;

use greentune_core_config::{
    Diagnostic, Suggestion, layout::RunLayout, manifest::RunStatus, platform::PlatformKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::configure_image_run::{AstConfig, ConfigureImageRun, ConfigureImageRunResponse};
use crate::{
    Result, Workbench, WorkbenchError,
    command_line::command,
    launch::{Demand, Overrides},
    observer::AwaitedRun,
};

/// Start a configured run (`run_id`), or make one that trains an image classifier and start it (`dataset` and `model`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StartTraining {
    /// Path of the project; looked up by the run's id when absent. With `dataset` it is made where there is none.
    pub project_path: Option<PathBuf>,
    /// Id of a configured run.
    pub run_id: Option<String>,
    /// Stage to train, 1 or 2; all when absent.
    pub stage: Option<u8>,
    /// Return once the worker has begun (the default), or wait for the end (false).
    pub async_mode: Option<bool>,
    /// Where it trains; this machine when absent.
    pub platform: Option<PlatformKind>,
    /// Refuse what does not fit into memory.
    pub memory_check: Option<bool>,
    /// Train although data or base model have changed.
    pub accept_changed_inputs: Option<bool>,
    /// Images to learn from: a folder per class, CIFAR, IDX or Parquet.
    pub dataset: Option<PathBuf>,
    /// Image classifier: simplecnn, resnet18, efficientnet_b0, vit_tiny, ...
    pub model: Option<String>,
    /// Train on selected samples, with these settings.
    pub ast_config: Option<AstConfig>,
    /// Train the twin on all samples, to compare with.
    pub baseline: Option<bool>,
    /// Passes over the images.
    pub epochs: Option<u64>,
    /// Images per step.
    pub batch_size: Option<u64>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// Seed.
    pub seed: Option<u64>,
    /// Not available yet.
    pub auto_upload_hf: Option<bool>,
    /// Tells this request from others: sent again with the same key, it starts nothing more. Derived when absent.
    pub idempotency_key: Option<String>,
}

impl StartTraining {
    /// A request that starts the run `run_id` and sets nothing else.
    pub fn of(run_id: impl Into<String>) -> Self {
        Self { run_id: Some(run_id.into()), ..Self::default() }
    }

    /// The run to make first; `None` when the request names a run.
    ///
    /// Errors: neither form or both; fields that belong to the form that was not used, all at once.
    fn to_configure(&self) -> Result<Option<ConfigureImageRun>> {
        match (&self.run_id, &self.dataset, &self.model) {
            (Some(_), None, None) => self.check_nothing_for_a_new_run().map(|()| None),
            (None, Some(dataset), Some(model)) => Ok(Some(ConfigureImageRun {
                project_path: self.project_path.clone(),
                platform: self.platform,
                dataset: dataset.clone(),
                model: model.clone(),
                ast_config: self.ast_config.clone(),
                baseline: self.baseline,
                epochs: self.epochs,
                batch_size: self.batch_size,
                learning_rate: self.learning_rate,
                seed: self.seed,
                auto_upload_hf: self.auto_upload_hf,
                idempotency_key: self.idempotency_key.clone(),
                ..ConfigureImageRun::default()
            })),
            (run_id, dataset, model) => Err(WorkbenchError::InvalidValue {
                key: if run_id.is_none() && dataset.is_some() { "model" } else { "run_id" },
                found: match (run_id.is_some(), dataset.is_some() || model.is_some()) {
                    (true, _) => String::from("both forms"),
                    (false, true) => String::from("one of dataset and model"),
                    (false, false) => String::from("nothing"),
                },
                allowed: String::from("either run_id, or dataset and model"),
            }),
        }
    }

    /// Refuses what a configured run has settled already.
    fn check_nothing_for_a_new_run(&self) -> Result<()> {
        let given = [
            ("ast_config", self.ast_config.is_some()),
            ("baseline", self.baseline.is_some()),
            ("epochs", self.epochs.is_some()),
            ("batch_size", self.batch_size.is_some()),
            ("learning_rate", self.learning_rate.is_some()),
            ("seed", self.seed.is_some()),
            ("auto_upload_hf", self.auto_upload_hf.is_some()),
        ];
        let refused = given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| {
            WorkbenchError::InvalidValue {
                key,
                found: String::from("a value beside run_id"),
                allowed: String::from(
                    "it beside dataset and model; a run has its settings from override_params of \
                     configure_training_run",
                ),
            }
            .problem()
        });
        let problems: Vec<_> = refused.collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(WorkbenchError::all("request.value", "arguments do not belong to a configured run", problems))
    }
}

/// The job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartTrainingResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Id of the run.
    pub run_id: String,
    /// Id of the job; on the local platform the run's.
    pub job_id: String,
    /// Where it trains.
    pub platform: PlatformKind,
    /// Whether a worker took it.
    pub training_started: bool,
    /// Whether the same request was sent before: then nothing more was started, and this is its run.
    #[serde(default)]
    pub repeated: bool,
    /// Whether it goes on from an earlier attempt.
    pub resumed: bool,
    /// Where the run stands: `running`, or `completed` when the end was waited for.
    pub status: RunStatus,
    /// Minutes it will take, from the pace of earlier steps or runs; absent when nothing comparable was trained.
    pub estimated_duration_minutes: Option<f64>,
    /// The worker's log.
    pub log_file: PathBuf,
    /// Command that shows its progress.
    pub monitor_command: String,
    /// Address of the job on a remote platform.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
}

impl Workbench {
    /// Starts a worker on the run and returns when it has begun, or when the run has ended.
    ///
    /// A run that does not fit into memory is refused (`memory.insufficient`) before its weights are loaded.
    /// A run that is running or completed is a conflict; one that was cancelled, interrupted or failed is resumed.
    /// When the end is waited for, a failed run is the error that it failed with, and a cancelled one is an error
    /// of kind `cancelled`.
    pub async fn start_training(&self, request: StartTraining) -> Result<StartTrainingResponse> {
        let (request, made) = self.configured(request).await?;
        let started = self.start_configured(request).await;
        if let (Err(_), Some(made)) = (&started, &made) {
            self.discard_unstarted(made).await?;
        }
        started
    }

    async fn start_configured(&self, request: StartTraining) -> Result<StartTrainingResponse> {
        let accept_changed_inputs = request.accept_changed_inputs.unwrap_or(false);
        let StartTraining {
            project_path,
            run_id,
            stage,
            async_mode,
            platform,
            memory_check,
            idempotency_key,
            ..
        } = request;
        let run_id = run_id.unwrap_or_default();
        let demand = stage.map_or(Demand::All, Demand::Stage);
        if let Some(kind) = platform {
            self.platforms().get(kind)?;
        }
        let overrides = Overrides { memory_check, platform, accept_changed_inputs, ..Overrides::default() };
        self.train(project_path, run_id, demand, async_mode, overrides, idempotency_key).await
    }

    /// The request to start a run by its id: one that asks for an image classifier has its run made first.
    async fn configured(
        &self,
        request: StartTraining,
    ) -> Result<(StartTraining, Option<ConfigureImageRunResponse>)> {
        let Some(run) = request.to_configure()? else { return Ok((request, None)) };
        let made = self.configure_image_run(run).await?;
        let request = StartTraining {
            project_path: Some(made.project_path.clone()),
            stage: request.stage,
            async_mode: request.async_mode,
            platform: request.platform,
            memory_check: request.memory_check,
            idempotency_key: Some(made.idempotency_key.clone()),
            ..StartTraining::of(&made.run_id)
        };
        Ok((request, Some(made)))
    }

    /// Launches the run and waits for its beginning, or its end unless `async_mode`. A request with a key that has been
    /// launched before is answered with that run.
    pub(super) async fn train(
        &self,
        project_path: Option<PathBuf>,
        run_id: String,
        demand: Demand,
        async_mode: Option<bool>,
        overrides: Overrides,
        key: Option<String>,
    ) -> Result<StartTrainingResponse> {
        let launched = self
            .blocking(move |workbench| {
                let project = project_path.as_deref();
                match key {
                    Some(key) => workbench.launch_once(project, &run_id, demand, overrides, &key),
                    None => workbench.launch(project, &run_id, demand, overrides),
                }
            })
            .await?;
        let begun = launched.begun(self).await?;
        let status = if async_mode.unwrap_or(true) {
            begun
        } else {
            self.observer().awaits_run(&awaited(&launched.layout, demand));
            launched.ended(self).await?
        };
        let status = launched.check(self, status).await?;
        let run_id = launched.layout.run_id();
        Ok(StartTrainingResponse {
            success: true,
            job_id: launched.job.job_id.clone().unwrap_or_else(|| run_id.clone()),
            platform: launched.job.kind,
            training_started: true,
            repeated: launched.repeated,
            resumed: launched.resumed,
            status,
            estimated_duration_minutes: launched.estimated_seconds.map(|seconds| seconds / 60.0),
            log_file: launched.layout.log(),
            monitor_command: command(
                &Suggestion::new("follow it", "follow_events").with("run_id", run_id.as_str()),
            ),
            url: launched.job.url.clone(),
            run_id,
        })
    }
}

fn awaited(run: &RunLayout, demand: Demand) -> AwaitedRun {
    let stage = match demand {
        Demand::Stage(stage) => Some(stage),
        Demand::All | Demand::Again => None,
    };
    AwaitedRun { project_path: run.project().root().to_owned(), run_id: run.run_id(), stage }
}
