//! A model's chat template, called as transformers calls it.

use std::io;

use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Environment, Error, ErrorKind, Value, syntax::SyntaxConfig};
use serde_json::Value as Json;

use super::{TEMPLATE, environment, json};

/// Steps of the template engine (about one per operation) that one text may take: a turn takes about twenty in the
/// templates of well-known models. Loops within loops over `range` would run for ever.
pub(super) const MOST_STEPS: u64 = 20_000_000;

/// Bytes of a text that a template writes at most. A record is shorter than a quarter of it.
const MOST_BYTES: usize = 256 << 20;

/// A chat template, and what it is called with beside a conversation.
pub(super) struct Chat {
    environment: Environment<'static>,
    special_tokens: Vec<(String, String)>,
}

/// What a template itself says with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Raised {
    message: String,
}

impl Chat {
    /// The template `source`; `special_tokens` are the tokenizer's by name, such as `bos_token`. `at` is the moment that
    /// `strftime_now` formats, in UTC.
    ///
    /// # Errors
    /// What is wrong with the template's syntax.
    pub(super) fn new(
        source: &str,
        special_tokens: &[(String, String)],
        at: Timestamp,
    ) -> Result<Self, Error> {
        // transformers' settings of Jinja: blocks leave no whitespace behind.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        let mut environment = environment(syntax);
        environment.add_filter("tojson", json::to_json);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            let raised = Raised { message: message.clone() };
            Err(Error::new(ErrorKind::InvalidOperation, message).with_source(raised))
        });
        environment.add_function("strftime_now", move |format: String| {
            jiff::fmt::strtime::format(&format, &at.to_zoned(TimeZone::UTC))
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
        });
        environment.add_template_owned(TEMPLATE, without_generation_tags(source))?;
        Ok(Self { environment, special_tokens: special_tokens.to_vec() })
    }

    /// Gives the template `value` as `name`.
    #[cfg(test)]
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.environment.add_global(name, value);
    }

    /// The text of `messages`, and of the header of the assistant's next turn with `add_generation_prompt`; and the steps
    /// that it took. `tools` are none where there are none.
    ///
    /// # Errors
    /// What the template raises or fails with; more than [`MOST_STEPS`].
    pub(super) fn render(
        &self,
        messages: &[Value],
        tools: &Value,
        add_generation_prompt: bool,
    ) -> Result<(String, u64), Error> {
        let arguments = [
            ("messages", messages.iter().cloned().collect::<Value>()),
            ("tools", tools.clone()),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        let tokens =
            self.special_tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        let mut written = Written(Vec::new());
        let rendered = self
            .environment
            .get_template(TEMPLATE)?
            .render_captured_to(Value::from_pairs(arguments.into_iter().chain(tokens)), &mut written)?;
        let steps = rendered.state().fuel_levels().map_or(0, |(taken, _)| taken);
        // A template writes nothing but text.
        let text = String::from_utf8(written.0)
            .map_err(|error| Error::new(ErrorKind::WriteFailure, error.to_string()))?;
        Ok((text, steps))
    }
}

/// What a template has written, up to [`MOST_BYTES`].
struct Written(Vec<u8>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value of a record as templates see it, with the keys of objects in the record's order.
pub(super) fn template_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            _ => Value::from(number.as_f64()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(template_value).collect(),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(key, value)| (key.as_str(), template_value(value))))
        }
    }
}

/// Jinja2's names for a macro's further arguments, where a macro reads one, and the line. The engine takes them for
/// undefined variables, which print nothing.
pub(super) fn macro_arguments(source: &str) -> Option<(&'static str, usize)> {
    let (mut is_in_macro, mut at) = (false, 0);
    while let Some(found) = source[at..].find("{{").into_iter().chain(source[at..].find("{%")).min() {
        let start = at + found + 2;
        let ends = ["}}", "%}"].into_iter().filter_map(|end| source[start..].find(end));
        at = start + ends.min().unwrap_or(source.len() - start);
        // Every second piece between quotes is a text.
        for expression in source[start..at].split(['\'', '"']).step_by(2) {
            for word in expression.split(|letter: char| !letter.is_alphanumeric() && letter != '_') {
                match word {
                    "macro" => is_in_macro = true,
                    "endmacro" => is_in_macro = false,
                    _ => {}
                }
                let name = ["varargs", "kwargs"].into_iter().find(|name| *name == word);
                if let Some(name) = name.filter(|_| is_in_macro) {
                    return Some((name, source[..at].lines().count()));
                }
            }
        }
    }
    None
}

/// transformers' own tags `{% generation %}` and `{% endgeneration %}` mark what the assistant says and print
/// nothing; the template engine does not know them. What is set between them is not seen behind them.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag, after)) = next_tag(rest) {
        text.push_str(before);
        match tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => text.push_str(&tag.replace("generation", " with ")),
            "endgeneration" => text.push_str(&tag.replace("endgeneration", " endwith ")),
            _ => text.push_str(tag),
        }
        rest = after;
    }
    text + rest
}

/// Splits at the inside of the next block tag.
fn next_tag(source: &str) -> Option<(&str, &str, &str)> {
    let start = source.find("{%")? + 2;
    let end = start + source[start..].find("%}")?;
    Some((&source[..start], &source[start..end], &source[end..]))
}
