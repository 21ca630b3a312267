//! One run or several, as a request names them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// One run, or several: a list of ids, or one text with commas between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct RunIds(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    List(Vec<String>),
}

impl RunIds {
    /// The ids, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether no run is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Written> for RunIds {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => Self::from(text.as_str()),
            Written::List(ids) => ids.into_iter().collect(),
        }
    }
}

impl From<&str> for RunIds {
    fn from(text: &str) -> Self {
        std::iter::once(text.to_owned()).collect()
    }
}

impl From<String> for RunIds {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl FromIterator<String> for RunIds {
    fn from_iter<T: IntoIterator<Item = String>>(ids: T) -> Self {
        let ids =
            ids.into_iter().flat_map(|ids| ids.split(',').map(|id| id.trim().to_owned()).collect::<Vec<_>>());
        Self(ids.filter(|id| !id.is_empty()).collect())
    }
}

impl JsonSchema for RunIds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RunIds".into()
    }

    // One type: some clients know no others. A text is understood all the same.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_and_a_list_name_the_same_runs() {
        let read = |value| serde_json::from_value::<RunIds>(value).unwrap();
        assert_eq!(read(json!("a, b,")), read(json!(["a", "b"])));
        assert_eq!(read(json!(["a, b"])), read(json!(["a", "b"])));
        assert_eq!(read(json!("a")).iter().collect::<Vec<_>>(), ["a"]);
        assert!(read(json!([])).is_empty() && read(json!(" ,")).is_empty());
    }
}
