//! `greentune config`: settings and where they come from.

use clap::{Args, Subcommand};
use greentune_core_config::resolve::{SettingRow, Source};
use greentune_workbench::operation::{ShowConfig, ShowConfigResponse};
use serde_json::Value;

use crate::{failure::Failure, output::Paint, session::Session, table::list};

/// Commands of `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show every setting with its source
    Show(Show),
}

/// Arguments of `config show`.
#[derive(Args, Debug)]
pub struct Show {
    /// Override a setting, such as lora.rank=16
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Config {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Show(Show { set }) = self;
        let request = ShowConfig { project_path: session.project(), override_params: None };
        let response = session.workbench_with(&set)?.show_config(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &ShowConfigResponse, paint: Paint) -> String {
    let row =
        |row: &SettingRow| vec![row.key.clone(), format!("= {}", value(&row.value)), source(&row.source)];
    let rows = list(&response.rows.iter().map(row).collect::<Vec<_>>());
    // Defaults are fainter than values that somebody has set.
    let painted = |(line, row): (&str, &SettingRow)| match row.source {
        Source::BuiltIn => paint.faint(line),
        _ => line.to_owned(),
    };
    let mut lines: Vec<_> = rows.lines().zip(&response.rows).map(painted).collect();
    let missing = &response.not_available_yet;
    lines.extend(missing.iter().map(|problem| paint.doubtful(format!("warning: {problem}"))));
    lines.join("\n")
}

fn source(source: &Source) -> String {
    format!("({source})")
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => String::from("(unset)"),
        value => value.to_string(),
    }
}
