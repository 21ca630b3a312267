//! Says what training a run will need before it starts, and how far off the plan was afterwards.

use std::path::PathBuf;

use greentune_core_config::{
    Diagnostic, Problem, Suggestion,
    manifest::RunStatus,
    plan::{PlanAccuracy, TrainingPlan},
    task::{PlanFindings, PlanTask, WorkerAnswer, WorkerTask},
};
use greentune_run_folder::{json, lock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError,
    engine::wrong_answer,
    plan::{
        Past, accuracy_of, comparable_runs, kept_plan, last_accuracy, memory_ratios, past_of, put_together,
    },
    run::{Run, require_language_model},
};

/// Plan a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PlanTraining {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Measure steps even if earlier runs tell the pace.
    pub measure: Option<bool>,
}

/// What training will need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanTrainingResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Id of the run.
    pub run_id: String,
    /// The plan.
    pub plan: TrainingPlan,
    /// How far off it was, when the run is completed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<PlanAccuracy>,
    /// How far off the plan of the last comparable run was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_plan: Option<PlanAccuracy>,
    /// The file that keeps the plan.
    pub plan_file: PathBuf,
}

/// A run to plan, and earlier runs that its plan can use.
struct Question {
    run: Run,
    earlier: Vec<Run>,
    past: Option<Past>,
    /// A plan that is kept.
    kept: Option<TrainingPlan>,
}

impl Workbench {
    /// Estimates memory, time, energy, emissions and cost of a run in a worker, and keeps the plan in the run's folder.
    ///
    /// Time and energy rest on earlier runs of the same base model on this device and machine; without one, or when
    /// `measure` asks for it, on a few steps that are done and thrown away. A run that is being trained or that is
    /// completed keeps the plan that it has.
    ///
    /// Errors: the run is being trained and has no plan; its data or base model cannot be used.
    pub async fn plan_training(&self, request: PlanTraining) -> Result<PlanTrainingResponse> {
        let mut question = self.blocking(move |workbench| workbench.question(&request)).await?;
        if let Some(plan) = question.kept.take() {
            return Ok(answer(&question, plan));
        }
        let mut findings = self.findings(&question.run, question.past.is_none()).await?;
        // Earlier runs that trained on another device say nothing of this one.
        if question.past.take_if(|past| past.device != findings.device).is_some() {
            findings = self.findings(&question.run, true).await?;
        }
        self.blocking(move |_| {
            let ratios = memory_ratios(&question.earlier);
            let plan = put_together(&question.run.manifest, &findings, question.past.as_ref(), &ratios);
            json::write(&question.run.layout.plan(), &plan)?;
            Ok(answer(&question, plan))
        })
        .await
    }

    fn question(&self, request: &PlanTraining) -> Result<Question> {
        let run = self.read_run(request.project_path.as_deref(), &request.run_id)?;
        let run_id = run.layout.run_id();
        let pace_of = |purpose: &str, operation: &str| {
            Suggestion::new(purpose, operation).with("run_id", run_id.as_str())
        };
        let run = require_language_model(run, "planning", "a plan would say the same").map_err(|error| {
            WorkbenchError::from(Problem {
                hint: None,
                suggestions: vec![
                    pace_of("train it", "start_training"),
                    pace_of("and see its pace and energy", "monitor_training_progress"),
                ],
                ..error.problem()
            })
        })?;
        self.check_named_files(&run.manifest)?;
        let status = run.manifest.status;
        let again = status == RunStatus::Completed && request.measure == Some(true);
        let stands = (status.is_active() || status == RunStatus::Completed) && !again;
        let kept = if stands { kept_plan(&run.layout) } else { None };
        if status.is_active() && kept.is_none() {
            // Steps that are measured beside a training would slow both down.
            return Err(lock::held(&run.layout).into());
        }
        let earlier = comparable_runs(self, &run);
        let past = if request.measure == Some(true) { None } else { past_of(&earlier) };
        Ok(Question { run, earlier, past, kept })
    }

    async fn findings(&self, run: &Run, measure: bool) -> Result<PlanFindings> {
        let task = PlanTask { run_folder: run.layout.folder().to_owned(), measure };
        match self.ask_worker(&WorkerTask::Plan(task)).await? {
            WorkerAnswer::Planned(findings) => Ok(*findings),
            _ => Err(wrong_answer("plan")),
        }
    }
}

fn answer(question: &Question, plan: TrainingPlan) -> PlanTrainingResponse {
    PlanTrainingResponse {
        success: true,
        run_id: plan.run_id.clone(),
        accuracy: accuracy_of(&question.run),
        last_plan: last_accuracy(&question.earlier),
        plan_file: question.run.layout.plan(),
        plan,
    }
}
