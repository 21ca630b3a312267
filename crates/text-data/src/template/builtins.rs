//! Filters, tests and functions that Jinja2 has by default, where the template engine lacks them or has others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::python::lines;
use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    value::{Kwargs, Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs, from_args},
};

/// Gives `environment` what is here, and takes from it what would write something else than Jinja2 does.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("truncate", truncate);
    environment.add_filter("urlencode", url_encode);
    environment.add_filter("forceescape", force_escape);
    environment.add_filter("attr", attribute);
    environment.add_filter("indent", indent);
    environment.add_filter("reverse", reverse);
    environment.add_test("callable", is_callable);
    environment.add_function("cycler", cycler);
    // Python's layout of long values is another.
    environment.remove_filter("pprint");
}

/// `truncate(s, length=255, killwords=False, end='...', leeway=5)`.
fn truncate(text: &str, arguments: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let arguments = arguments.into_values();
    let (positional, named) = from_args::<(&[Value], Kwargs)>(&arguments)?;
    let argument = |index: usize, name: &str| match positional.get(index) {
        Some(value) => Ok(Some(value.clone())),
        None => named.get::<Option<Value>>(name),
    };
    let number = |index, name, default| argument(index, name)?.map_or(Ok(default), usize::try_from);
    let length = number(0, "length", 255)?;
    let kill_words = argument(1, "killwords")?.is_some_and(|value| value.is_true());
    let end = argument(2, "end")?.map_or_else(|| "...".to_owned(), |end| end.to_string());
    let leeway = number(3, "leeway", 5)?;
    named.assert_all_used()?;
    let Some(kept) = length.checked_sub(end.chars().count()) else {
        let message = format!("expected length >= {}, got {length}", end.chars().count());
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    };
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let kept: String = text.chars().take(kept).collect();
    let words = if kill_words { &*kept } else { kept.rsplit_once(' ').map_or(&*kept, |(before, _)| before) };
    Ok(format!("{words}{end}"))
}

/// `indent(s, width=4, first=False, blank=False)`, of which the width may be a text.
fn indent(text: &str, arguments: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let arguments = arguments.into_values();
    let (positional, named) = from_args::<(&[Value], Kwargs)>(&arguments)?;
    let argument = |index: usize, name: &str| match positional.get(index) {
        Some(value) => Ok(Some(value.clone())),
        None => named.get::<Option<Value>>(name),
    };
    let width = argument(0, "width")?.unwrap_or_else(|| Value::from(4));
    let indention = match width.as_str() {
        Some(text) => text.to_owned(),
        None => " ".repeat(usize::try_from(width)?.min(MOST_INDENTION)),
    };
    let is_set = |index, name| argument(index, name).map(|value| value.is_some_and(|value| value.is_true()));
    let (first, blank) = (is_set(1, "first")?, is_set(2, "blank")?);
    named.assert_all_used()?;
    let lines = lines(&format!("{text}\n"), false);
    let indented = lines.iter().enumerate().map(|(index, line)| {
        let is_indented = if index == 0 { first } else { blank || !line.is_empty() };
        if is_indented { format!("{indention}{line}") } else { line.clone() }
    });
    Ok(indented.collect::<Vec<_>>().join("\n"))
}

/// Spaces of an indention at most.
const MOST_INDENTION: usize = 1000;

/// `reverse`, of a mapping its keys.
fn reverse(value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Map {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        keys.reverse();
        return Ok(Value::from(keys));
    }
    minijinja::filters::reverse(value)
}

/// `urlencode`: a text, or pairs of names and values as a query has them.
fn url_encode(value: &Value) -> Result<String, Error> {
    let pair = |name: &Value, value: &Value| format!("{}={}", quoted(name, ""), quoted(value, ""));
    match value.kind() {
        ValueKind::Map => {
            let pairs = value.try_iter()?.map(|name| Ok(pair(&name, &value.get_item(&name)?)));
            Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join("&"))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let pairs = value.try_iter()?;
            let pairs = pairs.map(|of| Ok(pair(&of.get_item_by_index(0)?, &of.get_item_by_index(1)?)));
            Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join("&"))
        }
        _ => Ok(quoted(value, "/")),
    }
}

/// Percent-encoded but for letters, digits, `_.-~` and `kept`; without anything to keep a space is `+`.
fn quoted(value: &Value, kept: &str) -> String {
    let is_kept =
        |byte: u8| byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || kept.as_bytes().contains(&byte);
    let mut text = String::new();
    for byte in value.to_string().bytes() {
        match byte {
            b' ' if kept.is_empty() => text.push('+'),
            byte if is_kept(byte) => text.push(char::from(byte)),
            byte => text.extend([format!("%{byte:02X}")]),
        }
    }
    text
}

/// `forceescape`: escaped for HTML, even if it has been already.
fn force_escape(value: &Value) -> Value {
    let escaped = value.to_string();
    let escaped = escaped.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Value::from_safe_string(escaped.replace('\'', "&#39;").replace('"', "&#34;"))
}

/// `attr('name')`: what a value has by that name other than an item; a mapping has its methods.
fn attribute(value: &Value, name: &str) -> Result<Value, Error> {
    if value.kind() != ValueKind::Map || is_macro(value) {
        return value.get_attr(name);
    }
    if METHODS_OF_MAPPINGS.contains(&name) {
        let message = format!("`attr('{name}')`, a method of a mapping, is not available: write `.{name}()`");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(Value::UNDEFINED)
}

const METHODS_OF_MAPPINGS: [&str; 11] =
    ["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

/// Macros and functions; what is undefined too.
fn is_callable(value: &Value) -> bool {
    let is_function = || value.kind() == ValueKind::Plain && value.as_object().is_some();
    value.is_undefined() || is_function() || is_macro(value)
}

/// The engine tells a macro by nothing but how it prints.
fn is_macro(value: &Value) -> bool {
    value.as_object().is_some() && value.to_string().starts_with("<macro ")
}

/// `cycler('odd', 'even')`, with `next()`, `current` and `reset()`.
fn cycler(items: Rest<Value>) -> Result<Value, Error> {
    if items.is_empty() {
        return Err(Error::new(ErrorKind::MissingArgument, "at least one item has to be provided"));
    }
    Ok(Value::from_object(Cycler { items: items.0, position: AtomicUsize::new(0) }))
}

#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    position: AtomicUsize,
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let current = || self.items[self.position.load(Ordering::Relaxed)].clone();
        (key.as_str() == Some("current")).then(current)
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        arguments: &[Value],
    ) -> Result<Value, Error> {
        let () = from_args(arguments)?;
        let position = self.position.load(Ordering::Relaxed);
        match method {
            "next" => {
                self.position.store((position + 1) % self.items.len(), Ordering::Relaxed);
                Ok(self.items[position].clone())
            }
            "reset" => {
                self.position.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(ErrorKind::UnknownMethod.into()),
        }
    }
}
