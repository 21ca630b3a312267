//! `greentune leaderboard`: completed runs with their quality and energy.

use clap::Args;
use greentune_core_config::quantities::{duration, energy, percent};
use greentune_workbench::operation::{EnergyLeaderboard, EnergyLeaderboardResponse};

use crate::{failure::Failure, output::Paint, session::Session, table::list};

/// Arguments of `leaderboard`.
#[derive(Args, Debug)]
pub struct Leaderboard {}

impl Leaderboard {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = EnergyLeaderboard { project_path: session.project() };
        let board = session.workbench()?.energy_leaderboard(request).await?;
        session.output.answer(&board, |paint| page(&board, paint))
    }
}

fn page(board: &EnergyLeaderboardResponse, paint: Paint) -> String {
    let left_out =
        board.left_out.iter().map(|one| paint.faint(format!("left out: {}: {}", one.run_id, one.reason)));
    if board.rows.is_empty() {
        let none = String::from("no completed run was metered and evaluated");
        return std::iter::once(none).chain(left_out).collect::<Vec<_>>().join("\n");
    }
    let heading = ["", "RUN", "MODEL", "QUALITY", "ENERGY", "BASIS", "TIME"].map(str::to_owned).to_vec();
    let rows = board.rows.iter().map(|row| {
        vec![
            String::from(if row.is_unbeaten { "*" } else { "" }),
            row.run_id.clone(),
            row.base_model.clone(),
            format!("{} {}", percent(row.quality), row.quality_metric.replace('_', " ")),
            energy(row.energy_kwh),
            row.energy_basis.to_string(),
            duration(row.duration_seconds),
        ]
    });
    let mut lines = vec![list(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())];
    lines.push(paint.faint(String::from("* no run on the same data is at least as good on less energy")));
    lines.extend(left_out);
    lines.join("\n")
}
