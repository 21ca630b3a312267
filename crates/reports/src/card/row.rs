//! Lines of a card's tables.

use serde::Serialize;

/// A line of a table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub label: &'static str,
    pub value: String,
}

/// A row, where there is a value.
pub(super) fn row(label: &'static str, value: Option<impl Into<String>>) -> Option<Row> {
    value.map(Into::into).filter(|value: &String| !value.is_empty()).map(|value| Row { label, value })
}
