//! What Python's strings and lists can do in a template, where the template engine knows it not or otherwise.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, Tuple, ValueKind, from_args},
};

/// A method of a value that the engine itself does not have.
pub(super) fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let own = match (value.kind(), value.as_str()) {
        (_, Some(text)) => string_method(text, name, arguments)?,
        (ValueKind::Seq, _) if name == "index" => Some(position(value, arguments)?),
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

/// Jinja2's test `sequence`: whatever has a length and items, so strings and mappings too.
pub(super) fn is_sequence(value: &Value) -> bool {
    value.is_undefined()
        || matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Bytes)
}

/// Jinja2's test `iterable`.
pub(super) fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Jinja2's filter `length`: what is undefined has none.
pub(super) fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    let no_length = || format!("a value of the kind {} has no length", value.kind());
    value.len().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, no_length()))
}

/// Jinja2's filter `int`: `default` for what is no number.
#[allow(clippy::needless_pass_by_value)] // a filter's named arguments come by value
pub(super) fn int(value: &Value, default: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let default = default.or(options.get("default")?).unwrap_or_else(|| Value::from(0));
    let base = options.get::<Option<u32>>("base")?.unwrap_or(10);
    options.assert_all_used()?;
    let number = match value.as_str().map(str::trim) {
        Some(text) => match i128::from_str_radix(&digits(text, base), base.clamp(2, 36)) {
            Ok(number) => return Ok(Value::from(number)),
            Err(_) => text.parse::<f64>().ok(),
        },
        None if value.kind() == ValueKind::Bool => return Ok(Value::from(i64::from(value.is_true()))),
        None if value.is_integer() => return Ok(value.clone()),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.filter(|number| number.is_finite()).map_or(default, |number| Value::from(number as i64)))
}

/// What Python's `int` reads as digits: without the prefix of the base, and without `_` between two digits.
fn digits(text: &str, base: u32) -> String {
    let (sign, rest) = text.split_at(text.len() - text.trim_start_matches(['+', '-']).len());
    let prefix = match base {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        _ => "",
    };
    let has_prefix = rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let rest = if has_prefix { &rest[2..] } else { rest };
    let is_grouped = !rest.starts_with('_') && !rest.ends_with('_') && !rest.contains("__");
    if is_grouped { format!("{sign}{}", rest.replace('_', "")) } else { text.to_owned() }
}

/// Jinja2's filter `float`: `default` for what is no number.
#[allow(clippy::needless_pass_by_value)] // a filter's named arguments come by value
pub(super) fn float(value: &Value, default: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let default = default.or(options.get("default")?).unwrap_or_else(|| Value::from(0.0));
    options.assert_all_used()?;
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or(default, Value::from))
}

/// Jinja2's filter `replace`: all, or the first `count`.
pub(super) fn replace(text: &Value, old: &str, new: &str, count: Option<usize>) -> String {
    let text = text.to_string();
    count.map_or_else(|| text.replace(old, new), |count| text.replacen(old, new, count))
}

/// Jinja2's filter `dictsort(case_sensitive=False, by='key', reverse=False)`.
#[allow(clippy::needless_pass_by_value)] // a filter's named arguments come by value
pub(super) fn dict_sort(
    map: &Value,
    case_sensitive: Option<bool>,
    by: Option<String>,
    reverse: Option<bool>,
    options: Kwargs,
) -> Result<Value, Error> {
    let case_sensitive = case_sensitive.or(options.get("case_sensitive")?).unwrap_or(false);
    let by = by.or(options.get("by")?).unwrap_or_else(|| "key".to_owned());
    let reverse = reverse.or(options.get("reverse")?).unwrap_or(false);
    options.assert_all_used()?;
    let mut pairs = Vec::new();
    for key in map.try_iter()? {
        let value = map.get_item(&key)?;
        let sorted_by = if by == "value" { &value } else { &key };
        let sorted_by = match sorted_by.as_str() {
            Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
            _ => sorted_by.clone(),
        };
        pairs.push((sorted_by, Value::from(Tuple::from([key, value]))));
    }
    pairs.sort_by(|(one, _), (other, _)| if reverse { other.cmp(one) } else { one.cmp(other) });
    Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
}

/// Jinja2's filter `wordcount`.
pub(super) fn word_count(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Jinja2's filter `center`.
pub(super) fn center(text: &str, width: Option<usize>) -> String {
    centered(text, width.unwrap_or(80), ' ')
}

fn string_method(text: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let (positional, named) = from_args::<(&[Value], Kwargs)>(arguments)?;
    let argument = |index: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match positional.get(index) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none()))
    };
    let string = |index: usize, key: &str| -> Result<Option<String>, Error> {
        let Some(value) = argument(index, key)? else { return Ok(None) };
        let wrong = || {
            let message = format!("`{name}` takes text, not a value of the kind {}", value.kind());
            Error::new(ErrorKind::InvalidOperation, message)
        };
        value.as_str().map(|text| Some(text.to_owned())).ok_or_else(wrong)
    };
    let needed = |index: usize| -> Result<String, Error> {
        let missing = || Error::new(ErrorKind::MissingArgument, format!("`{name}` needs an argument"));
        string(index, "")?.ok_or_else(missing)
    };
    let number = |index: usize, name: &str| -> Result<Option<i64>, Error> {
        argument(index, name)?.map(i64::try_from).transpose()
    };
    let result = match name {
        "strip" | "lstrip" | "rstrip" => {
            let set = string(0, "chars")?;
            let strips = |c: char| set.as_ref().map_or_else(|| is_space(c), |set| set.contains(c));
            let text = if name == "rstrip" { text } else { text.trim_start_matches(strips) };
            Value::from(if name == "lstrip" { text } else { text.trim_end_matches(strips) })
        }
        "split" | "rsplit" => {
            let limit = number(1, "maxsplit")?.and_then(|limit| usize::try_from(limit).ok());
            let parts = match string(0, "sep")? {
                Some(separator) if separator.is_empty() => {
                    return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
                }
                Some(separator) => split(text, &separator, limit, name == "rsplit"),
                None => split_at_spaces(text, limit, name == "rsplit"),
            };
            parts.into_iter().map(Value::from).collect()
        }
        "splitlines" => {
            let keep_ends = argument(0, "keepends")?.is_some_and(|keep| keep.is_true());
            lines(text, keep_ends).into_iter().map(Value::from).collect()
        }
        "find" | "rfind" | "index" => {
            let (start, rest) = from_position(text, number(1, "start")?);
            let needle = needed(0)?;
            let found = if name == "rfind" { rest.rfind(&needle) } else { rest.find(&needle) };
            match found {
                Some(found) => Value::from(start + rest[..found].chars().count()),
                None if name == "index" => {
                    return Err(Error::new(ErrorKind::InvalidOperation, "substring not found"));
                }
                None => Value::from(-1),
            }
        }
        "startswith" if positional.len() > 1 => {
            Value::from(from_position(text, number(1, "start")?).1.starts_with(&needed(0)?))
        }
        "removeprefix" => Value::from(text.strip_prefix(&*needed(0)?).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(&*needed(0)?).unwrap_or(text)),
        "partition" => {
            let separator = needed(0)?;
            match text.split_once(&*separator) {
                Some((before, after)) => triple(before, &separator, after),
                None => triple(text, "", ""),
            }
        }
        "rpartition" => {
            let separator = needed(0)?;
            match text.rsplit_once(&*separator) {
                Some((before, after)) => triple(before, &separator, after),
                None => triple("", "", text),
            }
        }
        "swapcase" => Value::from(text.chars().map(swapped).collect::<String>()),
        "casefold" => Value::from(text.to_lowercase().replace('ß', "ss")),
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        "zfill" => Value::from(zero_filled(text, width(number(0, "width")?))),
        "ljust" | "rjust" | "center" => {
            let fill = string(1, "fillchar")?.and_then(|fill| fill.chars().next()).unwrap_or(' ');
            let width = width(number(0, "width")?);
            let padding = || fill.to_string().repeat(width.saturating_sub(text.chars().count()));
            Value::from(match name {
                "ljust" => text.to_owned() + &padding(),
                "rjust" => padding() + text,
                _ => centered(text, width, fill),
            })
        }
        "encode" => Value::from_bytes(text.as_bytes().to_vec()),
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// What Python takes for white space: beside Unicode's the four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

fn split(text: &str, separator: &str, limit: Option<usize>, from_right: bool) -> Vec<String> {
    let limit = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    if from_right {
        let mut parts: Vec<_> = text.rsplitn(limit, separator).map(str::to_owned).collect();
        parts.reverse();
        return parts;
    }
    text.splitn(limit, separator).map(str::to_owned).collect()
}

fn split_at_spaces(text: &str, limit: Option<usize>, from_right: bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim_matches(is_space);
    while !rest.is_empty() {
        let space = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(space) = space.filter(|_| limit.is_none_or(|limit| parts.len() < limit)) else { break };
        let after = space + rest[space..].chars().next().map_or(1, char::len_utf8);
        let (part, left) = if from_right {
            (&rest[after..], rest[..space].trim_end_matches(is_space))
        } else {
            (&rest[..space], rest[after..].trim_start_matches(is_space))
        };
        parts.push(part.to_owned());
        rest = left;
    }
    if !rest.is_empty() {
        parts.push(rest.to_owned());
    }
    if from_right {
        parts.reverse();
    }
    parts
}

/// Lines by Python's boundaries, with them where `keep_ends`.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<String> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(end) = rest.find(is_end) {
        let length = match rest[end..].strip_prefix("\r\n") {
            Some(_) => 2,
            None => rest[end..].chars().next().map_or(1, char::len_utf8),
        };
        lines.push(rest[..if keep_ends { end + length } else { end }].to_owned());
        rest = &rest[end + length..];
    }
    if !rest.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

/// The text from the character number `start` on; negative counts from the end.
fn from_position(text: &str, start: Option<i64>) -> (usize, &str) {
    let length = text.chars().count();
    let start = start.unwrap_or(0);
    let counted = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let start = if start < 0 { length.saturating_sub(counted) } else { counted.min(length) };
    let byte = text.char_indices().nth(start).map_or(text.len(), |(byte, _)| byte);
    (start, &text[byte..])
}

fn triple(before: &str, separator: &str, after: &str) -> Value {
    Value::from(Tuple::from([Value::from(before), Value::from(separator), Value::from(after)]))
}

fn swapped(character: char) -> String {
    if character.is_lowercase() {
        character.to_uppercase().collect()
    } else {
        character.to_lowercase().collect()
    }
}

fn width(width: Option<i64>) -> usize {
    width.and_then(|width| usize::try_from(width).ok()).unwrap_or(0)
}

fn zero_filled(text: &str, width: usize) -> String {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => text.split_at(text.len() - digits.len()),
        None => ("", text),
    };
    format!("{sign}{}{digits}", "0".repeat(width.saturating_sub(text.chars().count())))
}

/// As Python's `str.center`, which puts the odd space in front where the width is odd.
fn centered(text: &str, width: usize, fill: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let left = missing / 2 + (missing & width & 1);
    let fill = |number: usize| fill.to_string().repeat(number);
    format!("{}{text}{}", fill(left), fill(missing - left))
}

fn position(list: &Value, arguments: &[Value]) -> Result<Value, Error> {
    let (wanted,): (&Value,) = from_args(arguments)?;
    list.try_iter()?
        .position(|item| item == *wanted)
        .map(Value::from)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in the list")))
}
