//! Model cards: one template of `templates/cards` over what is known of a run.

use std::io::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tera::{Context, Kwargs, State, Tera};

use crate::{ScaffoldError, markdown, yaml::front_matter};

/// Name, text. Names in [`CardTemplate`] begin with the words that users choose.
const TEMPLATES: &[(&str, &str)] = &[
    ("standard.md.tera", include_str!("../templates/cards/standard.md.tera")),
    ("competition.md.tera", include_str!("../templates/cards/competition.md.tera")),
    ("research.md.tera", include_str!("../templates/cards/research.md.tera")),
    ("parts/opening.md.tera", include_str!("../templates/cards/parts/opening.md.tera")),
    ("parts/details.md.tera", include_str!("../templates/cards/parts/details.md.tera")),
    ("parts/results.md.tera", include_str!("../templates/cards/parts/results.md.tera")),
    ("parts/sustainability.md.tera", include_str!("../templates/cards/parts/sustainability.md.tera")),
    ("parts/limits.md.tera", include_str!("../templates/cards/parts/limits.md.tera")),
    ("parts/reproducing.md.tera", include_str!("../templates/cards/parts/reproducing.md.tera")),
    ("parts/loading.md.tera", include_str!("../templates/cards/parts/loading.md.tera")),
];

/// Which card is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CardTemplate {
    /// Everything that somebody who uses the model needs.
    #[default]
    Standard,
    /// Short: the headline figure, what it cost, and hints for a submission.
    Competition,
    /// All settings, selection epoch by epoch, the confusion matrix, caveats, references.
    Research,
}

impl CardTemplate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Competition, Self::Research];

    /// The word that chooses it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Competition => "competition",
            Self::Research => "research",
        }
    }

    /// The template of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.as_str() == word)
    }
}

/// Renders the card: `metadata`, an object, as YAML between two lines of dashes, then the template over `body`.
///
/// Text of `body` is escaped so that it has no markup, unless the template says `safe`. Figures come as text, with
/// their units. What is null, false or empty is left out together with its line.
///
/// Errors: the template asks for something that `body` does not have, which is a defect of greentune.
pub fn render_card(
    template: CardTemplate,
    metadata: &Value,
    body: &impl Serialize,
) -> Result<String, ScaffoldError> {
    let mut tera = Tera::default();
    tera.autoescape_on([".md.tera"]);
    tera.set_escape_fn(|text: &str, output: &mut dyn Write| {
        output.write_all(markdown::inline(text).as_bytes())
    });
    tera.register_filter("code", |text: &str, _: Kwargs, _: &State| {
        tera::Value::safe_string(&markdown::code_span(text))
    });
    tera.register_filter("fence", |text: &str, arguments: Kwargs, _: &State| {
        let language = arguments.get::<&str>("language").ok().flatten().unwrap_or_default();
        tera::Value::safe_string(&markdown::code_block(text, language))
    });
    tera.add_raw_templates(TEMPLATES.iter().copied())?;
    let context = Context::from_serialize(body)?;
    let body = tera.render(&format!("{}.md.tera", template.as_str()), &context)?;
    Ok(format!("---\n{}---\n\n{}\n", front_matter(metadata), without_gaps(body.trim())))
}

/// `settings`, an object of sections, as TOML; nulls, which TOML does not have, and empty sections are left out.
///
/// Errors: something that TOML cannot say, which is a defect of greentune.
pub fn settings_as_toml(settings: &Value) -> Result<String, ScaffoldError> {
    toml_edit::ser::to_string_pretty(&without_nulls(settings)).map_err(ScaffoldError::Toml)
}

/// Lines that were left out leave no gaps of more than one empty line; code keeps its own.
fn without_gaps(text: &str) -> String {
    let (mut kept, mut empty, mut fence): (Vec<&str>, bool, Option<&str>) = (Vec::new(), false, None);
    for line in text.lines() {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            Some(open) if line == open => fence = None,
            None if ticks.len() >= 3 => fence = Some(ticks),
            _ => {}
        }
        let is_empty = line.trim().is_empty() && fence.is_none();
        if !(is_empty && empty) {
            kept.push(if is_empty { "" } else { line });
        }
        empty = is_empty;
    }
    kept.join("\n")
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.iter().map(|(key, value)| (key.clone(), without_nulls(value)));
            let says_nothing =
                |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
            kept.filter(|(_, value)| !says_nothing(value)).collect()
        }
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(without_nulls).collect(),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gaps_close_outside_of_code_alone() {
        assert_eq!(
            without_gaps("a\n\n\n \nb\n```\nc\n\n\n\nd\n```\n\n\ne"),
            "a\n\nb\n```\nc\n\n\n\nd\n```\n\ne"
        );
    }

    #[test]
    fn settings_are_toml_that_reads_back() {
        let settings = json!({ "vision": { "model": "a\"b", "pretrained": null, "epochs": 3 }, "training": { "seed": 1, "stage1": { "x": 0.5 } } });
        let read: Value = toml_edit::de::from_str(&settings_as_toml(&settings).unwrap()).unwrap();
        assert_eq!(read, without_nulls(&settings));
    }

    #[test]
    fn templates_are_chosen_by_their_words() {
        for template in CardTemplate::ALL {
            assert_eq!(CardTemplate::named(template.as_str()), Some(template));
        }
        assert_eq!(CardTemplate::named("Standard"), None);
    }
}
