//! `greentune train`: trains a run, or makes one that trains an image classifier and trains it.

use std::{path::PathBuf, sync::LazyLock};

use clap::{
    Args, ValueEnum,
    builder::{EnumValueParser, PossibleValue, PossibleValuesParser},
};
use greentune_core_config::{
    Suggestion,
    manifest::RunStatus,
    platform::PlatformKind,
    quantities::{count, duration, sum},
    settings::{AstPolicy, VISION_MODELS},
};
use greentune_workbench::{
    Result as WorkbenchResult, Workbench,
    command_line::command,
    operation::{
        AstConfig, ChosenSetting, ConfigureImageRun, ConfigureImageRunResponse, ShowRun, StartTraining,
        StartTrainingResponse,
    },
};

use serde_json::Value;

use crate::{
    any_case::AnyCase, comparison, failure::Failure, output::Paint, progress::Follower, session::Session,
};

/// Arguments of `train`.
#[derive(Args, Debug)]
pub struct Train {
    /// The run: its id, its name or the beginning of one [default: the newest that is not completed]
    #[arg(conflicts_with = "dataset")]
    run: Option<String>,
    /// Train only this stage
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    stage: Option<u8>,
    /// Return once training has begun; it continues without this terminal
    #[arg(long)]
    detach: bool,
    /// Train even if the run does not seem to fit into memory
    #[arg(long)]
    no_memory_check: bool,
    /// Train although data or base model have changed since the run was configured
    #[arg(long)]
    accept_changed_inputs: bool,
    /// Where to train: local, the only platform of this version [default: where the run trained before]
    #[arg(long, value_name = "NAME", value_parser = platform)]
    platform: Option<PlatformKind>,
    #[command(flatten)]
    image: ImageArguments,
}

/// A run of an image classifier in one line.
#[derive(Args, Debug)]
#[command(next_help_heading = "Image classifier, in one line")]
struct ImageArguments {
    /// Architecture
    #[arg(long, value_name = "NAME", value_parser = AnyCase(PossibleValuesParser::new(VISION_MODELS)), requires = "dataset", hide_possible_values = true)]
    #[arg(long_help = format!("Architecture: {}", VISION_MODELS.join(", ")))]
    model: Option<String>,
    /// Images: a folder per class (train/, val/), CIFAR binaries, IDX files or Parquet
    #[arg(long, value_name = "PATH", requires = "model")]
    dataset: Option<PathBuf>,
    /// Train on selected samples (adaptive sparse training)
    #[arg(long, requires = "dataset")]
    ast: bool,
    /// Share of samples to train on, in (0, 1]
    #[arg(long, value_name = "P", requires = "ast")]
    target_activation_rate: Option<f64>,
    /// Weight of entropy against loss in a sample's score, in [0, 1]
    #[arg(long, value_name = "W", requires = "ast")]
    entropy_weight: Option<f64>,
    /// How samples are selected
    #[arg(long, value_name = "NAME", value_parser = AnyCase(EnumValueParser::<PolicyName>::new()), requires = "ast")]
    policy: Option<PolicyName>,
    /// Epochs on all samples before selection begins
    #[arg(long, value_name = "N", requires = "dataset")]
    warmup_epochs: Option<u64>,
    /// Train the twin for the comparison: the same run on all samples
    #[arg(long, requires = "dataset")]
    baseline: bool,
    /// Passes over the images
    #[arg(long, value_name = "N", requires = "dataset")]
    epochs: Option<u64>,
    /// Images per step
    #[arg(long, value_name = "N", requires = "dataset")]
    batch_size: Option<u64>,
    /// Peak learning rate
    #[arg(long, value_name = "X", requires = "dataset")]
    learning_rate: Option<f64>,
    /// Seed of all random choices
    #[arg(long, value_name = "S", requires = "dataset")]
    seed: Option<u64>,
    /// Name of this job: sent again with the same key it starts nothing more [default: derived from the arguments]
    #[arg(long, value_name = "KEY", requires = "dataset")]
    idempotency_key: Option<String>,
    /// Upload the model when it is trained
    #[arg(long, requires = "dataset")]
    auto_upload: bool,
    /// Any other setting of the run, such as vision.augmentation=crop
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "dataset")]
    set: Vec<String>,
}

/// A platform by its name; of an unknown name what is allowed now.
fn platform(name: &str) -> Result<PlatformKind, String> {
    name.parse().map_err(|_| format!("allowed: {}", PlatformKind::Local))
}

/// A policy, by its name in settings.
#[derive(Clone, Copy, Debug)]
struct PolicyName(AstPolicy);

impl ValueEnum for PolicyName {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<PolicyName>> =
            LazyLock::new(|| AstPolicy::ALL.iter().copied().map(PolicyName).collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()).help(self.0.summary()))
    }
}

impl ImageArguments {
    /// The run that is asked for, if one is.
    fn request(self, session: &Session, platform: Option<PlatformKind>) -> Option<ConfigureImageRun> {
        let (dataset, model) = (session.here(&self.dataset?), self.model?);
        let warmup =
            self.warmup_epochs.map(|epochs| (String::from("ast.warmup_epochs"), Value::from(epochs)));
        let name = dataset.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // Outside of a project one is made here.
        let project =
            session.project().unwrap_or_else(|| session.here(&PathBuf::from(format!("{name}-training"))));
        Some(ConfigureImageRun {
            project_path: Some(project),
            platform,
            dataset,
            model,
            ast_config: self.ast.then(|| AstConfig {
                target_activation_rate: self.target_activation_rate,
                entropy_weight: self.entropy_weight,
                policy: self.policy.map(|name| name.0),
                warmup_epochs: None,
            }),
            baseline: Some(self.baseline),
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            seed: self.seed,
            auto_upload_hf: Some(self.auto_upload),
            idempotency_key: self.idempotency_key,
            run_name: None,
            override_params: Some(warmup.into_iter().collect()),
        })
    }
}

impl Train {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let memory_check = self.no_memory_check.then_some(false);
        let platform = self.platform;
        let settings = self.image.set.clone();
        if let Some(request) = self.image.request(session, platform) {
            let workbench = session.workbench_with(&settings)?;
            let made = workbench.configure_image_run(request).await?;
            let workbench = session.allowing_typed_hosts(&settings)?.workbench()?;
            let request = StartTraining {
                project_path: Some(made.project_path.clone()),
                stage: self.stage,
                async_mode: Some(self.detach),
                platform,
                memory_check,
                idempotency_key: Some(made.idempotency_key.clone()),
                ..StartTraining::of(&made.run_id)
            };
            let training = |workbench: Workbench| async move { workbench.start_training(request).await };
            let (project, run_id) = (Some(made.project_path.clone()), made.run_id.clone());
            let begun = || session.output.say(|paint| made_in_words(&made, paint));
            let answered = answer(session, &workbench, project, run_id, self.detach, begun, training).await;
            if answered.is_err() {
                workbench.discard_unstarted(&made).await?;
            }
            return answered;
        }
        let open = |status| status != RunStatus::Completed;
        let project_path =
            if self.run.is_some() { session.project() } else { Some(session.project_or_here()) };
        let run_id = session.run_or_newest(self.run, open, "not completed").await?;
        let request = StartTraining {
            project_path,
            accept_changed_inputs: self.accept_changed_inputs.then_some(true),
            stage: self.stage,
            async_mode: Some(self.detach),
            platform,
            memory_check,
            ..StartTraining::of(&run_id)
        };
        let workbench = session.workbench()?;
        let training = |workbench: Workbench| async move { workbench.start_training(request).await };
        answer(session, &workbench, session.project(), run_id, self.detach, || Ok(()), training).await
    }
}

/// Answers for `training` on the run `run_id`: once it has begun when `detach`, else at its end with live progress. `begun`
/// says what there is to say before; nothing of a training that is refused.
pub async fn answer<F: Future<Output = WorkbenchResult<StartTrainingResponse>>>(
    session: &Session,
    workbench: &Workbench,
    project: Option<PathBuf>,
    run_id: String,
    detach: bool,
    begun: impl FnOnce() -> Result<(), Failure>,
    training: impl FnOnce(Workbench) -> F,
) -> Result<(), Failure> {
    if detach {
        let response = training(workbench.clone()).await?;
        begun()?;
        return session.output.answer(&response, |_| begun_in_words(&response));
    }
    let mut follower = Follower::new(workbench.clone(), project.clone(), run_id, session.output).await?;
    let response = follower.during(begun, training).await?;
    let run_id = follower.run_id().to_owned();
    let run = workbench.show_run(ShowRun { project_path: project, run_id }).await?;
    session.output.answer(&response, |paint| {
        let stages = &run.manifest.stages;
        let seconds = sum(stages.iter().filter_map(|stage| stage.duration_seconds));
        let done =
            format!("the run {} is {}, trained for {}", response.run_id, response.status, duration(seconds));
        let folder = format!("its files are in {}", run.run_directory.display());
        [Some(paint.heading(done)), comparison::of_run(&run.manifest), Some(folder)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn made_in_words(made: &ConfigureImageRunResponse, paint: Paint) -> String {
    let data = &made.dataset;
    let heading = if made.repeated {
        format!("the same job was sent before: its run is {}", made.run_id)
    } else {
        format!("made the run {}", made.run_id)
    };
    let mut lines = vec![paint.heading(heading)];
    lines.push(format!("  project  {}", made.project_path.display()));
    lines.push(format!(
        "  images   {} to train, {} to validate, {} classes",
        count(data.train),
        count(data.validation),
        data.classes.len()
    ));
    let chosen = |setting: &ChosenSetting| {
        let key = setting.key.trim_start_matches("vision.").replace('_', " ");
        format!("{key} {}", setting.value.to_string().trim_matches('"'))
    };
    if !made.chosen.is_empty() {
        let chosen = made.chosen.iter().map(chosen).collect::<Vec<_>>().join(", ");
        lines.push(format!("  chosen   {chosen}"));
        let show = Suggestion::new("see why", "show_run").with("run_id", made.run_id.as_str());
        lines.push(format!("           why: {}", command(&show)));
    }
    lines.extend(made.warnings.iter().map(|warning| paint.doubtful(format!("  note     {warning}"))));
    lines.join("\n")
}

fn begun_in_words(response: &StartTrainingResponse) -> String {
    let estimate = response.estimated_duration_minutes.map(|minutes| duration(minutes * 60.0));
    let estimate = estimate.map(|time| format!(", about {time} to go")).unwrap_or_default();
    let before =
        if response.repeated { "the same job was sent before, so nothing more was started\n" } else { "" };
    let stop = Suggestion::new("stop it", "cancel_training").with("run_id", response.run_id.as_str());
    format!(
        "{before}the run {} is {}{estimate}\n  follow  {}\n  stop    {}\n  log     {}",
        response.run_id,
        if response.status == RunStatus::Running { "training" } else { response.status.as_str() },
        response.monitor_command,
        command(&stop),
        response.log_file.display(),
    )
}
