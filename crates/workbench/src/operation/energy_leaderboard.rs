//! Runs beside each other: how good they became, and on how much energy.

use std::{cmp::Ordering, path::PathBuf};

use greentune_core_config::{
    Basis,
    manifest::{RunManifest, RunStatus},
    quantities::sum,
    selection::SelectionSoFar,
    settings::Task,
};
use greentune_reports::comparison::{data_of, model_name};
use greentune_run_folder::RunView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list_runs::ListRuns;
use crate::{Result, Workbench};

/// Ask which runs became best on least energy.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct EnergyLeaderboard {
    /// Path of the project; every run in the index when absent.
    pub project_path: Option<PathBuf>,
}

/// Completed and metered runs, those that none beats first, then by energy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnergyLeaderboardResponse {
    /// The runs.
    pub rows: Vec<LeaderboardRow>,
    /// Completed runs that are in no row, and why.
    pub left_out: Vec<LeftOut>,
}

/// A run that is in no row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Id of the run.
    pub run_id: String,
    /// Why not.
    pub reason: String,
}

/// A run with its quality and its energy. Only runs of one `group` can be ranked against each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeaderboardRow {
    /// Id of the run.
    pub run_id: String,
    /// Name that the user gave.
    pub run_name: String,
    /// The project's folder.
    pub project_path: PathBuf,
    /// `text` or `image`.
    pub task: String,
    /// What was evaluated on: runs with the same task and validation data are of one group.
    pub group: String,
    /// The base model, or the architecture of an image classifier.
    pub base_model: String,
    /// Share of samples trained on while samples were selected; absent where all were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub activation_rate: Option<f64>,
    /// What `quality` is: `token_accuracy` or `accuracy`, on the validation data after the last stage.
    pub quality_metric: String,
    /// It, in `[0, 1]`.
    pub quality: f64,
    /// Mean loss on the same data, in nats per token or image.
    pub validation_loss: f64,
    /// Mean training loss of the last tenth of the last stage's steps.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub train_loss: Option<f64>,
    /// Energy of the run in kWh.
    pub energy_kwh: f64,
    /// How it is known: `measured`, `modelled` or `mixed`.
    pub energy_basis: Basis,
    /// Emissions in kg CO2-equivalent.
    pub emissions_kg: f64,
    /// Seconds of training.
    pub duration_seconds: f64,
    /// Whether no run of its group is at least as good on less energy.
    pub is_unbeaten: bool,
}

impl Workbench {
    /// Sets every completed run of the project, or of the index, beside the others.
    pub async fn energy_leaderboard(&self, request: EnergyLeaderboard) -> Result<EnergyLeaderboardResponse> {
        let listed = self.list_runs(ListRuns::all(request.project_path)).await?;
        self.blocking(move |workbench| {
            let mut board = EnergyLeaderboardResponse::default();
            for run in listed.runs.into_iter().filter(|run| run.status == RunStatus::Completed) {
                let layout = workbench.find_run(Some(&run.project_path), &run.run_id)?;
                let row =
                    workbench.look(&layout, |view: &RunView| row(view.manifest(), run.project_path.clone()));
                match row.map_err(|error| error.to_string()).and_then(|row| row) {
                    Ok(row) => board.rows.push(row),
                    Err(reason) => board.left_out.push(LeftOut { run_id: run.run_id, reason }),
                }
            }
            rank(&mut board.rows);
            Ok(board)
        })
        .await
    }
}

/// Errors: what the run lacks.
fn row(manifest: &RunManifest, project_path: PathBuf) -> Result<LeaderboardRow, String> {
    let last = manifest.stages.last().ok_or("it has no stage")?;
    let task = manifest.settings.task();
    let (task_name, quality_metric, evaluated) = match task {
        Task::LanguageModel => {
            let report = last.own_validation();
            ("text", "token_accuracy", report.map(|report| (report.token_accuracy, report.loss)))
        }
        Task::ImageClassification => {
            let report = last.classification.as_ref();
            ("image", "accuracy", report.map(|report| (report.accuracy, report.loss)))
        }
    };
    let (quality, validation_loss) = evaluated.ok_or("it was not evaluated at its end")?;
    let metered: Option<Vec<_>> = manifest.stages.iter().map(|stage| stage.emissions.as_ref()).collect();
    let metered = metered.ok_or("a stage was not metered")?;
    let validation = manifest.data.validation_of(last.stage);
    Ok(LeaderboardRow {
        run_id: manifest.run_id.clone(),
        run_name: manifest.run_name.clone(),
        project_path,
        task: task_name.to_owned(),
        group: format!("{task_name} on {}", data_of(manifest, validation)),
        base_model: model_name(manifest),
        activation_rate: last.selection.as_ref().map(SelectionSoFar::activation_rate),
        quality_metric: quality_metric.to_owned(),
        quality,
        validation_loss,
        train_loss: last.final_train_loss,
        energy_kwh: sum(metered.iter().map(|used| used.energy_kwh)),
        energy_basis: Basis::of_sum(metered.iter().map(|used| Basis::of_energy(&used.basis)))
            .unwrap_or(Basis::Unknown),
        emissions_kg: sum(metered.iter().map(|used| used.emissions_kg_co2)),
        duration_seconds: sum(manifest.stages.iter().filter_map(|stage| stage.duration_seconds)),
        is_unbeaten: false,
    })
}

fn rank(rows: &mut [LeaderboardRow]) {
    let beats = |other: &LeaderboardRow, row: &LeaderboardRow| {
        other.group == row.group
            && other.quality >= row.quality
            && (other.energy_kwh < row.energy_kwh
                || other.energy_kwh <= row.energy_kwh && other.quality > row.quality)
    };
    let unbeaten: Vec<_> = rows.iter().map(|row| !rows.iter().any(|other| beats(other, row))).collect();
    for (row, is_unbeaten) in rows.iter_mut().zip(unbeaten) {
        row.is_unbeaten = is_unbeaten;
    }
    rows.sort_by(|a, b| {
        let by_energy = a.energy_kwh.partial_cmp(&b.energy_kwh).unwrap_or(Ordering::Equal);
        b.is_unbeaten.cmp(&a.is_unbeaten).then(by_energy).then_with(|| a.run_id.cmp(&b.run_id))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run_id: &str, group: &str, quality: f64, energy_kwh: f64) -> LeaderboardRow {
        LeaderboardRow {
            run_id: run_id.into(),
            run_name: run_id.into(),
            project_path: PathBuf::new(),
            task: "text".into(),
            group: group.into(),
            base_model: String::new(),
            activation_rate: None,
            quality_metric: "token_accuracy".into(),
            quality,
            validation_loss: 0.5,
            train_loss: None,
            energy_kwh,
            energy_basis: Basis::Modelled,
            emissions_kg: 0.0,
            duration_seconds: 1.0,
            is_unbeaten: false,
        }
    }

    #[test]
    fn a_run_is_unbeaten_where_no_other_of_its_group_is_as_good_on_less() {
        let mut rows = [
            row("dear", "a", 0.9, 3.0),
            row("worse", "a", 0.7, 2.0),
            row("cheap", "a", 0.8, 1.0),
            row("alone", "b", 0.1, 9.0),
        ];
        rank(&mut rows);
        let order: Vec<_> = rows.iter().map(|row| (row.run_id.as_str(), row.is_unbeaten)).collect();
        assert_eq!(order, [("cheap", true), ("dear", true), ("alone", true), ("worse", false)]);
    }
}
