//! Layers read one after the other: files, overrides, variables and arguments become checked values.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Map, Number, Value};
use toml_edit::{Document, Item, TableLike};

use super::{
    Source,
    key::KeyType,
    limits::{self, Fault},
    registry::{find, is_section, join, registry, suggest},
};
use crate::{Location, Problem, ProblemKind};

/// Problems that are told one by one; the rest is counted. Each costs a search for the names that were meant.
const MOST_TOLD: usize = 100;

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Values that passed, by dotted key, each from the last layer that gave one.
    pub(super) values: BTreeMap<String, (Value, Source)>,
    /// Keys whose last value was refused.
    pub(super) rejected: BTreeSet<String>,
    /// What was wrong, up to [`MOST_TOLD`].
    pub(super) problems: Vec<Problem>,
    /// What else was wrong.
    untold: usize,
}

impl Reading {
    /// Reads a TOML file; `source` makes the source of a line.
    pub(super) fn file(&mut self, path: &Path, text: &str, source: impl Fn(u64) -> Source) {
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line_of = |offset: usize| 1 + ends.partition_point(|end| *end < offset) as u64;
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => {
                // Not the error's own text: it quotes the line, and a line can hold a credential.
                let found = error.message().replace('\n', "; ");
                let line = error.span().map(|span| line_of(span.start));
                let problem = Problem::new(
                    ProblemKind::InvalidInput,
                    "config.syntax",
                    format!("not TOML: {found}; the rest of the file was not read"),
                );
                self.problems.push(problem.at(Location { file: Some(path.to_owned()), line, key: None }));
                return;
            }
        };
        let first = self.problems.len();
        self.table("", document.as_table(), &|offset| source(line_of(offset)));
        self.problems[first..].sort_by_key(|problem| problem.location.as_ref().and_then(|at| at.line));
    }

    fn table(&mut self, section: &str, table: &dyn TableLike, source: &dyn Fn(usize) -> Source) {
        for (name, item) in table.iter() {
            let key = join(section, name);
            let span = table.get_key_value(name).and_then(|(name, _)| name.span()).or_else(|| item.span());
            match item.as_table_like() {
                Some(inner) if is_section(&key) => self.table(&key, inner, source),
                _ => self.value(&key, json(item), source(span.unwrap_or_default().start)),
            }
        }
    }

    /// Reads overrides in nested or dotted form.
    pub(super) fn overrides(&mut self, section: &str, overrides: &Map<String, Value>) {
        for (name, value) in overrides {
            let key = join(section, name);
            match value {
                Value::Object(inner) if is_section(&key) => self.overrides(&key, inner),
                // Models write numbers and flags as text; a shell knows nothing else.
                Value::String(text) => self.text(&key, text, Source::RunOverride),
                _ => self.value(&key, Ok(value.clone()), Source::RunOverride),
            }
        }
    }

    /// Reads the variables that are settings.
    pub(super) fn environment(&mut self, variables: &[(String, String)]) {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("GREENTUNE_") else { continue };
            let name = name.to_ascii_lowercase();
            let source = Source::Environment { variable: variable.clone() };
            if name.contains("__") {
                self.text(&name.replace("__", "."), text, source);
            } else if let Some(doc) = registry().iter().find(|doc| doc.key.replace('.', "_") == name) {
                // If it were ignored silently, the run would train with another value than the user believes.
                let meant = doc.key.replace('.', "__").to_ascii_uppercase();
                let message = format!("unknown variable {variable}; did you mean GREENTUNE_{meant}?");
                self.refuse("config.unknown_key", &doc.key, &source, message);
            }
        }
    }

    /// Reads `text` as the type of `key`.
    pub(super) fn text(&mut self, key: &str, text: &str, source: Source) {
        let value = find(key).map_or_else(|| Value::from(text), |doc| from_text(&doc.kind, text));
        self.value(key, Ok(value), source);
    }

    /// Records a value, or why it is refused. `Err` describes a value that no setting can have.
    fn value(&mut self, key: &str, value: Result<Value, String>, source: Source) {
        let at = if source.file().is_some() { String::new() } else { format!(" ({source})") };
        let Some(doc) = find(key) else {
            let (code, message) = if is_section(key) {
                let found = value.map_or_else(|found| found, |value| shown(&value));
                (
                    Fault::WrongType.code(),
                    format!("found {found}{at}; allowed: settings inside it, it is a section"),
                )
            } else if self.is_full() {
                ("config.unknown_key", String::new())
            } else {
                ("config.unknown_key", format!("unknown key{at}; {}", suggest(key)))
            };
            return self.refuse(code, key, &source, message);
        };
        let found = value.as_ref().map_or_else(Clone::clone, shown);
        let meant = value.as_ref().ok().and_then(|value| limits::meant(doc, value));
        let meant = meant.map(|meant| format!("; {meant}")).unwrap_or_default();
        match value.map_err(|_| Fault::WrongType).and_then(|value| limits::check(doc, value)) {
            Ok(value) => {
                self.rejected.remove(key);
                self.values.insert(key.to_owned(), (value, source));
            }
            Err(fault) => {
                self.rejected.insert(key.to_owned());
                let message = format!("found {found}{at}; allowed: {}{meant}", doc.allowed);
                self.refuse(fault.code(), key, &source, message);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.problems.len() >= MOST_TOLD
    }

    fn refuse(&mut self, code: &str, key: &str, source: &Source, message: String) {
        if self.is_full() {
            self.untold += 1;
            return;
        }
        let problem = Problem::new(ProblemKind::InvalidInput, code, message);
        self.problems.push(problem.at(source.location(key)));
    }

    /// The sources of what was read, or everything that was wrong as one problem.
    pub(super) fn into_result(mut self) -> Result<BTreeMap<String, Source>, Problem> {
        let message = match self.problems.len() + self.untold {
            0 => return Ok(self.values.into_iter().map(|(key, (_, source))| (key, source)).collect()),
            1 => String::from("the configuration has 1 problem"),
            many => format!("the configuration has {many} problems"),
        };
        let mut problem = Problem::new(ProblemKind::InvalidInput, "config.invalid", message)
            .with_hint("correct the settings named below; nothing has been started");
        if self.untold > 0 {
            let message = format!("and {} more", self.untold);
            self.problems.push(Problem::new(ProblemKind::InvalidInput, "config.more_problems", message));
        }
        problem.problems = self.problems;
        Err(problem)
    }
}

/// A TOML item in JSON; `Err` names what JSON cannot hold and no setting can be.
fn json(item: &Item) -> Result<Value, String> {
    match item {
        Item::Value(value) => json_value(value),
        Item::ArrayOfTables(_) => Ok(Value::Array(vec![Value::Object(Map::new())])),
        Item::Table(_) | Item::None => Ok(Value::Object(Map::new())),
    }
}

fn json_value(value: &toml_edit::Value) -> Result<Value, String> {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => Ok(Value::from(text.value().as_str())),
        Toml::Integer(number) => Ok(Value::from(*number.value())),
        Toml::Float(number) => {
            Number::from_f64(*number.value()).map(Value::Number).ok_or_else(|| number.value().to_string())
        }
        Toml::Boolean(boolean) => Ok(Value::from(*boolean.value())),
        Toml::Datetime(date) => Err(format!("the date or time {}", date.value())),
        Toml::Array(items) => items.iter().map(json_value).collect(),
        Toml::InlineTable(_) => Ok(Value::Object(Map::new())),
    }
}

/// `text` as a value of `kind`; left as text where it is none, for the check to refuse.
fn from_text(kind: &KeyType, text: &str) -> Value {
    let trimmed = text.trim();
    let parsed = match kind {
        KeyType::Boolean => trimmed.parse().ok().map(Value::Bool),
        KeyType::Integer => {
            let unsigned = trimmed.parse::<u64>().ok().map(Value::from);
            unsigned.or_else(|| trimmed.parse::<i64>().ok().map(Value::from))
        }
        KeyType::Number => trimmed.parse().ok().and_then(Number::from_f64).map(Value::Number),
        KeyType::Texts => Some(list_from_text(trimmed)),
        KeyType::Text | KeyType::Word(_) => None,
    };
    parsed.unwrap_or_else(|| Value::from(text))
}

/// `["a","b"]`, `[a, b]` (a shell takes the quotes away) or `a,b`.
fn list_from_text(text: &str) -> Value {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).trim();
    let bare = |item: &str| Value::from(item.trim().trim_matches(['"', '\'']));
    if inner.is_empty() { Value::Array(Vec::new()) } else { inner.split(',').map(bare).collect() }
}

/// A refused value as messages show it, shortened.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = match value {
        Value::Object(_) => String::from("a table"),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
