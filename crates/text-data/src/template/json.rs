//! The filter `tojson` as transformers defines it: Python's `json.dumps` with `ensure_ascii=False`.

use std::fmt::Write;

use minijinja::{
    Error, ErrorKind, Value,
    value::{Kwargs, Rest, ValueKind, ValueOrKwargs, from_args},
};

/// `value | tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`. Unlike Jinja's own filter it
/// does not escape for HTML, keeps the order of keys and puts a space behind `,` and `:`.
pub(super) fn to_json(value: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut writer = Writer { style: Style::of(arguments)?, text: String::new(), depth: 0 };
    writer.value(value)?;
    Ok(Value::from(writer.text))
}

/// `value` as Python's `json.dumps` writes it by default, but for characters beyond ASCII, which are kept.
pub(super) fn json_text(value: &Value) -> Result<String, Error> {
    to_json(value, Rest(Vec::new())).map(|text| text.to_string())
}

struct Style {
    ensure_ascii: bool,
    /// What a level is indented with; `None` for all in one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

impl Style {
    fn of(arguments: Rest<ValueOrKwargs>) -> Result<Self, Error> {
        let arguments = arguments.into_values();
        let (positional, named) = from_args::<(&[Value], Kwargs)>(&arguments)?;
        let argument = |index: usize, name: &str| -> Result<Value, Error> {
            match positional.get(index) {
                Some(value) => Ok(value.clone()),
                None => Ok(named.get::<Option<Value>>(name)?.unwrap_or_else(|| Value::from(()))),
            }
        };
        let indent = indent(&argument(1, "indent")?)?;
        let separators = argument(2, "separators")?;
        let (item_separator, key_separator) = if separators.is_none() {
            let item = if indent.is_some() { "," } else { ", " };
            (item.to_owned(), ": ".to_owned())
        } else {
            let part = |index| separators.get_item_by_index(index).map(|part| part.to_string());
            (part(0)?, part(1)?)
        };
        let style = Self {
            ensure_ascii: argument(0, "ensure_ascii")?.is_true(),
            indent,
            item_separator,
            key_separator,
            sort_keys: argument(3, "sort_keys")?.is_true(),
        };
        named.assert_all_used()?;
        Ok(style)
    }
}

fn indent(value: &Value) -> Result<Option<String>, Error> {
    Ok(match value.kind() {
        ValueKind::None => None,
        ValueKind::String => Some(value.to_string()),
        ValueKind::Bool => Some(" ".repeat(usize::from(value.is_true()))),
        _ => Some(" ".repeat(usize::try_from(i64::try_from(value.clone())?).unwrap_or(0))),
    })
}

struct Writer {
    style: Style,
    text: String,
    depth: usize,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => self.text.push_str(&value.to_string()),
            ValueKind::Number => self.text.push_str(&float_text(f64::try_from(value.clone())?)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect::<Vec<_>>();
                self.container(['[', ']'], items, |writer, item| writer.value(&item))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.style.sort_keys {
                    keys.sort();
                }
                self.container(['{', '}'], keys, |writer, key| {
                    writer.key(&key)?;
                    writer.text.push_str(&writer.style.key_separator.clone());
                    writer.value(&value.get_item(&key)?)
                })?;
            }
            kind => return Err(refused(kind)),
        }
        Ok(())
    }

    fn container(
        &mut self,
        [open, close]: [char; 2],
        items: Vec<Value>,
        mut write: impl FnMut(&mut Self, Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        let is_empty = items.is_empty();
        self.depth += 1;
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.text.push_str(&self.style.item_separator.clone());
            }
            self.line();
            write(self, item)?;
        }
        self.depth -= 1;
        if !is_empty {
            self.line();
        }
        self.text.push(close);
        Ok(())
    }

    fn line(&mut self) {
        if let Some(indent) = &self.style.indent {
            self.text.push('\n');
            self.text.push_str(&indent.repeat(self.depth));
        }
    }

    fn key(&mut self, key: &Value) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.string(key.as_str().unwrap_or_default()),
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                self.text.push('"');
                self.value(key)?;
                self.text.push('"');
            }
            kind => return Err(refused(kind)),
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                _ if character < ' ' || (self.style.ensure_ascii && !(' '..='~').contains(&character)) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        // Writing to a string does not fail.
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }
}

fn refused(kind: ValueKind) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson cannot write a value of the kind {kind}"))
}

/// A number with a fraction as Python's `repr` writes it: an exponent below 1e-4 and from 1e16 on.
pub(super) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let text = number.to_string();
    if text.contains('.') { text } else { text + ".0" }
}
