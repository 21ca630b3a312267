//! Values as YAML's block style.

use std::fmt::Write as _;

use serde_json::Value;

/// The entries of `object` as lines of YAML; of anything else nothing.
///
/// Every key and text is on one line of its own and, unless it is a plain word, a JSON string: those are YAML's
/// double-quoted scalars (YAML 1.2.2, section 1.3). So no name can end the front matter, or become another type.
pub(crate) fn front_matter(object: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(entries) = object {
        for (key, value) in entries {
            let _ = write!(text, "{}:", scalar(key));
            nested(value, 0, &mut text);
        }
    }
    text
}

/// `value` after its key or dash, whose line is indented by `indent` spaces.
fn nested(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            text.push('\n');
            block(value, indent + 2, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(value, indent, text);
        }
        Value::String(word) => {
            let _ = writeln!(text, " {}", scalar(word));
        }
        Value::Number(figure) => {
            let _ = writeln!(text, " {}", number(&figure.to_string()));
        }
        // Truth values, null and what is empty are the same in JSON.
        plain => {
            let _ = writeln!(text, " {plain}");
        }
    }
}

fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let _ = write!(text, "{:indent$}{}:", "", scalar(key));
                nested(value, indent, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(text, "{:indent$}-", "");
                match item {
                    // An object begins on the line of its dash.
                    Value::Object(entries) if !entries.is_empty() => {
                        let mut lines = String::new();
                        block(item, indent + 2, &mut lines);
                        let _ = write!(text, " {}", lines.trim_start());
                    }
                    other => nested(other, indent + 2, text),
                }
            }
        }
        _ => {}
    }
}

/// A number of JSON as one of YAML 1.1 too, where an exponent needs a point before it and a sign.
fn number(text: &str) -> String {
    let Some((digits, exponent)) = text.split_once('e') else { return text.to_owned() };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

/// `text` as a YAML scalar on one line.
fn scalar(text: &str) -> String {
    if is_plain_word(text) {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for character in Value::from(text).to_string().chars() {
        match character {
            // JSON leaves these as they are; YAML reads them as line breaks or refuses them (section 5.1).
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", character as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted
}

/// Words that no version of YAML reads as anything but text.
fn is_plain_word(text: &str) -> bool {
    // YAML 1.1 reads these as truth values or null.
    const SPECIAL: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        && !SPECIAL.contains(&text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_are_indented_as_the_hub_writes_them() {
        let card = json!({
            "tags": ["a-b", "yes"], "empty": [], "co2": { "emissions": 0.5, "source": "a: b" },
            "model-index": [{ "name": "x", "results": [{ "task": { "type": "t" }, "metrics": [{ "value": 1 }] }] }],
        });
        assert_eq!(
            front_matter(&card),
            "tags:\n- a-b\n- \"yes\"\nempty: []\nco2:\n  emissions: 0.5\n  source: \"a: b\"\nmodel-index:\n- name: x\n  \
             results:\n  - task:\n      type: t\n    metrics:\n    - value: 1\n"
        );
    }

    #[test]
    fn numbers_are_numbers_in_every_version() {
        let figures = json!({ "a": 1e-7, "b": 1.5e-7, "c": 1e300, "d": 12, "e": 0.25 });
        assert_eq!(front_matter(&figures), "a: 1.0e-7\nb: 1.5e-7\nc: 1.0e+300\nd: 12\ne: 0.25\n");
    }

    proptest! {
        #[test]
        fn a_scalar_is_one_line_of_printable_characters(text in any::<String>()) {
            let scalar = scalar(&text);
            let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            prop_assert!(!scalar.chars().any(breaks));
            if scalar.starts_with('"') {
                prop_assert_eq!(serde_json::from_str::<String>(&scalar).unwrap(), text);
            } else {
                prop_assert_eq!(scalar, text);
            }
        }
    }
}
