//! Every row that was metered, as a table.

use std::path::PathBuf;

use greentune_core_config::{Basis, emissions::basis_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    CarbonError,
    files::codecarbon::COLUMNS,
    reports::{
        aggregate::SkippedFile,
        rows::{self, RunRow},
    },
};

/// Rows of emissions as a table: run and stage, CodeCarbon's columns, how the energy is known, and the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmissionsTable {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows, the oldest first; each has a cell for each column. Units are CodeCarbon's: seconds, kWh, kg, W, litres, GB.
    pub rows: Vec<Vec<Value>>,
    /// Files, and runs in files, that could not be read.
    pub skipped: Vec<SkippedFile>,
}

/// The rows of `paths`: files of any name, and folders. Of each run in a file the last row counts, because rows are
/// cumulative.
///
/// # Errors
/// A path that is missing.
pub fn table(paths: &[PathBuf]) -> Result<EmissionsTable, CarbonError> {
    let mut read = rows::of_paths(paths)?;
    read.rows.sort_by(|a, b| a.record.timestamp.cmp(&b.record.timestamp));
    let own = COLUMNS.into_iter().filter(|column| *column != "run_id");
    let columns = ["run_id", "stage"].into_iter().chain(own).chain(["basis", "file"]).map(str::to_owned);
    let columns: Vec<String> = columns.collect();
    let rows = read.rows.iter().map(|row| cells(row, &columns)).collect();
    Ok(EmissionsTable { columns, rows, skipped: read.skipped })
}

fn cells(row: &RunRow, columns: &[String]) -> Vec<Value> {
    let record = serde_json::to_value(&*row.record).unwrap_or_default();
    let basis = row.provenance.as_ref().map_or(Basis::Unknown, |provenance| basis_of(&provenance.components));
    let cell = |column: &String| match column.as_str() {
        "run_id" => Value::from(row.run_id.as_str()),
        "stage" => row.stage.map_or(Value::Null, Value::from),
        "basis" => Value::from(basis.as_str()),
        "file" => Value::from(row.file.as_str()),
        column => record[column].clone(),
    };
    columns.iter().map(cell).collect()
}

impl EmissionsTable {
    /// The table as CSV (RFC 4180), its header first. A text that a spreadsheet would take for a formula gets an apostrophe
    /// before it.
    pub fn csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new()
            .flexible(true)
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::new());
        let rows = self.rows.iter().map(|row| row.iter().map(csv_cell).collect());
        for row in std::iter::once(self.columns.clone()).chain(rows) {
            // Nothing fails in memory.
            let _ = writer.write_record(&row);
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}

fn csv_cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_keeps_every_cell_a_cell() {
        let table = EmissionsTable {
            columns: vec![String::from("run_id"), String::from("emissions")],
            rows: vec![
                vec![Value::from("a,\"b\"\nc"), Value::from(0.5)],
                vec![Value::from("=HYPERLINK(1)"), Value::Null],
            ],
            skipped: Vec::new(),
        };
        assert_eq!(table.csv(), "run_id,emissions\r\n\"a,\"\"b\"\"\nc\",0.5\r\n'=HYPERLINK(1),\r\n");
    }
}
