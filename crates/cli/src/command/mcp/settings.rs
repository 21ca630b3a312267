//! Settings of a client as text: one server's entry is read, written or taken out, and everything else stays as it is.

mod json;
mod toml;

use std::path::Path;

use greentune_core_config::ProblemKind;
use serde_json::{Map, Value};

use super::client::{Client, Format};
use crate::failure::Failure;

/// Why settings cannot be changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// They cannot be read; what is wrong, with its place.
    Damaged(String),
    /// Where the servers should be is something else; which keys lead there.
    NoServers(String),
    /// The change would not come out as wanted, such as where a key stands twice.
    NotKept,
}

/// Where one server's entry is in settings.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    pub client: &'a Client,
    pub name: &'a str,
}

impl Slot<'_> {
    /// The entry in `text`; none when there is none.
    pub fn read(self, text: &str) -> Result<Option<Value>, Unusable> {
        let mut at = self.parse(text)?;
        if at.is_null() {
            return Ok(None);
        }
        for (depth, key) in self.client.keys.iter().enumerate() {
            match at.as_object_mut().map(|object| object.remove(*key)) {
                Some(Some(next)) if next.is_object() => at = next,
                Some(None) => return Ok(None),
                _ => return Err(self.no_servers(depth)),
            }
        }
        Ok(at.get(self.name).cloned())
    }

    /// `text` with the fields of `entry`; other fields of an entry that is there stay.
    pub fn write(self, text: &str, entry: &Map<String, Value>) -> Result<String, Unusable> {
        let written = match self.client.format {
            Format::Toml => with_line_ends_of(text, |text| toml::write(text, self, entry))?,
            format => json::write(text, format, self, entry)?,
        };
        let has = self.read(&written)?.unwrap_or_default();
        let is_there = entry.iter().all(|(key, value)| has.get(key) == Some(value));
        self.kept(text, written, is_there)
    }

    /// `text` without the entry.
    pub fn remove(self, text: &str) -> Result<String, Unusable> {
        let left = match self.client.format {
            Format::Toml => with_line_ends_of(text, |text| toml::remove(text, self))?,
            format => json::remove(text, format, self)?,
        };
        let is_gone = self.read(&left)?.is_none();
        self.kept(text, left, is_gone)
    }

    /// `after`, when all but the entry is what it was in `before`.
    fn kept(self, before: &str, after: String, is_done: bool) -> Result<String, Unusable> {
        let same = self.without_slot(before)? == self.without_slot(&after)?;
        if is_done && same { Ok(after) } else { Err(Unusable::NotKept) }
    }

    /// The settings without the entry, and without the objects around it that are empty then.
    fn without_slot(self, text: &str) -> Result<Value, Unusable> {
        let mut all = match self.parse(text)? {
            Value::Null => Value::Object(Map::new()),
            all => all,
        };
        let path: Vec<&str> = self.client.keys.iter().copied().chain([self.name]).collect();
        prune(&mut all, &path);
        Ok(all)
    }

    fn parse(self, text: &str) -> Result<Value, Unusable> {
        match self.client.format {
            Format::Toml => toml::parse(text),
            format => json::parse(text, format),
        }
    }

    /// Why the settings in `path` are not changed.
    pub fn failure(self, path: &Path, unusable: Unusable) -> Failure {
        let format = match self.client.format {
            Format::Json => "JSON",
            Format::CommentedJson => "JSON with comments",
            Format::Toml => "TOML",
        };
        let (code, why, hint) = match unusable {
            Unusable::Damaged(what) => (
                "mcp.settings_damaged",
                format!("it cannot be read as {format}: {what}"),
                "correct the file; the client cannot read it either",
            ),
            Unusable::NoServers(keys) => (
                "mcp.settings_shape",
                format!("`{keys}` is no group of servers there"),
                "correct the file, or let the client make it anew",
            ),
            Unusable::NotKept => (
                "mcp.settings_not_kept",
                String::from(
                    "what else stands in it would not stay as it is, such as a key that is there twice",
                ),
                "write the entry by hand: `greentune mcp install --print --client C` prints it",
            ),
        };
        let message = format!("{} is not changed: {why}", path.display());
        Failure::new(ProblemKind::Conflict, code, message).with_hint(hint)
    }

    fn no_servers(self, depth: usize) -> Unusable {
        Unusable::NoServers(self.client.keys[..=depth].join("."))
    }
}

fn prune(value: &mut Value, path: &[&str]) {
    let (Some(object), [key, rest @ ..]) = (value.as_object_mut(), path) else { return };
    match object.get_mut(*key) {
        Some(inner) if !rest.is_empty() => {
            prune(inner, rest);
            if inner.as_object().is_some_and(Map::is_empty) {
                object.remove(*key);
            }
        }
        _ => drop(object.remove(*key)),
    }
}

/// What `change` makes of `text`, with the line ends that all lines of `text` have.
fn with_line_ends_of(
    text: &str,
    change: impl FnOnce(&str) -> Result<String, Unusable>,
) -> Result<String, Unusable> {
    let windows = text.matches("\r\n").count();
    if windows == 0 {
        return change(text);
    }
    // Lines of both kinds cannot be told apart once one of them was rewritten.
    if windows != text.matches('\n').count() {
        return Err(Unusable::NotKept);
    }
    Ok(change(&text.replace("\r\n", "\n"))?.replace('\n', "\r\n"))
}

#[cfg(test)]
mod tests;
