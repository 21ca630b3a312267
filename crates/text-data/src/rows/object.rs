//! One record of JSON: its fields, or what is wrong with its text.

use serde_json::{Value, json};

use super::{Fault, Fields, Reason};

/// The bytes of a record that are read at most.
pub(super) const RECORD_BYTES: usize = 64 << 20;

/// Values in a record at most: cells of a row, members and items of JSON. Each takes about a hundred bytes of memory,
/// however short it is.
pub(super) const RECORD_VALUES: usize = 2 << 20;

/// What the bytes 0x80 to 0x9f are in Windows-1252; zero where it has nothing.
const WINDOWS_1252: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“',
    '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

/// The fields of the record in `bytes`, which begin on `line`; `what` names them: `the line`, `the record`.
///
/// `NaN` and infinities, which Python writes, are read as null. A list of turns is a record whose `messages` it is.
pub(super) fn fields(bytes: &[u8], line: u64, what: &str) -> Result<Fields, Fault> {
    let text = str::from_utf8(bytes).map_err(|error| not_utf8(what, bytes, error))?;
    if bytes.len() > RECORD_VALUES && values(bytes) > RECORD_VALUES {
        return Err(broken(format!("{what} holds more than {RECORD_VALUES} values")));
    }
    let error = match serde_json::from_str(text) {
        Ok(fields) => return Ok(fields),
        Err(error) => error,
    };
    if let Some(fields) = with_finite_numbers(text).and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(fields);
    }
    if let Some(half) = half_pair(text) {
        let message = format!("{what} holds `{half}`, half of a surrogate pair, which is no character");
        return Err(broken(message).with_hint(
            "a text was cut in the middle of a character such as an emoji: write it again from its source, or take the \
             half out",
        ));
    }
    if let Ok(turns @ Value::Array(_)) = serde_json::from_str::<Value>(text)
        && (turns[0].get("role").is_some() || turns[0].get("from").is_some())
    {
        let name = if turns[0].get("role").is_some() { "messages" } else { "conversations" };
        return Ok(Fields::from_iter([(name.to_owned(), json!(turns))]));
    }
    let (row, column) = (error.line() as u64, error.column());
    let place = format!(" at line {row} column {column}");
    let reason = error.to_string();
    let reason = reason.strip_suffix(&place).unwrap_or(&reason);
    let place = match row {
        0 => String::new(),
        1 => format!(" at column {column}"),
        row => format!(" at line {} column {column}", line + row - 1),
    };
    Err(broken(format!("{what} is no JSON object: {reason}{place}")))
}

/// At least as many as there are values in JSON text, about.
fn values(text: &[u8]) -> usize {
    let (mut number, mut in_string, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => number += 1,
            _ => {}
        }
    }
    number
}

/// The fault of a record that is too long to be one.
pub(super) fn too_long(what: &str) -> Fault {
    broken(format!("{what} is longer than {} MiB", RECORD_BYTES >> 20)).with_hint("write one record per line")
}

/// The fault of a row of a table that is too long, or has too many values, to be a record.
pub(super) fn too_large(what: &str) -> Fault {
    let message = format!(
        "{what} holds more than {} MiB of text, or more than {RECORD_VALUES} values",
        RECORD_BYTES >> 20
    );
    broken(message).with_hint("split it into several records")
}

/// The fault of bytes that are not UTF-8: what they say as Windows-1252, if they can be that.
pub(super) fn not_utf8(what: &str, bytes: &[u8], error: std::str::Utf8Error) -> Fault {
    let at = error.valid_up_to();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80;
    let before = bytes[..at].iter().rev().take_while(|byte| is_word(byte)).count().min(20);
    let after = bytes[at..].iter().take_while(|byte| is_word(byte)).count().min(20);
    let word: Option<String> =
        bytes[at - before..at + after].iter().map(|byte| windows_1252(*byte)).collect();
    let fault = match word {
        Some(word) => broken(format!("{what} is not UTF-8: {error}; as Windows-1252 it says `{word}`")),
        None => broken(format!("{what} is not UTF-8: {error}")),
    };
    fault.with_hint("save the file as UTF-8, as `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW` does")
}

fn windows_1252(byte: u8) -> Option<char> {
    match byte {
        0x80..=0x9f => Some(WINDOWS_1252[usize::from(byte - 0x80)]).filter(|letter| *letter != '\0'),
        byte => Some(char::from(byte)),
    }
}

fn broken(message: String) -> Fault {
    Fault::new(Reason::BrokenLine, "data.broken_line", message)
}

/// The text with null for each `NaN`, `Infinity` and `-Infinity` outside of strings; `None` when there is none.
fn with_finite_numbers(text: &str) -> Option<String> {
    let (mut result, mut rest, mut in_string) = (String::new(), text, false);
    let mut is_changed = false;
    while let Some(letter) = rest.chars().next() {
        let mut taken = letter.len_utf8();
        match letter {
            '"' => in_string = !in_string,
            '\\' if in_string => taken += rest[1..].chars().next().map_or(0, char::len_utf8),
            'N' | 'I' | '-' if !in_string => {
                if let Some(word) =
                    ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word))
                {
                    result.push_str("null");
                    rest = &rest[word.len()..];
                    is_changed = true;
                    continue;
                }
            }
            _ => {}
        }
        result.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    is_changed.then_some(result)
}

/// The first escape of a surrogate without its other half, such as `\ud83d`.
fn half_pair(text: &str) -> Option<&str> {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match unit(at) {
            Some(0xd800..=0xdbff) if unit(at + 6).is_some_and(|low| (0xdc00..=0xdfff).contains(&low)) => {
                at += 12;
            }
            Some(0xd800..=0xdfff) => return text.get(at..at + 6),
            Some(_) => at += 6,
            None => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        fields(text.as_bytes(), 7, "the line").map(Value::Object).map_err(|fault| fault.message)
    }

    #[test]
    fn numbers_that_json_lacks_are_null_and_texts_stay() {
        let record = r#"{"a":NaN,"b":[-Infinity,Infinity,-1],"c":"NaN \" -Infinity","d":{"e":NaN}}"#;
        let expected = json!({"a": null, "b": [null, null, -1], "c": "NaN \" -Infinity", "d": {"e": null}});
        assert_eq!(read(record).unwrap(), expected);
        assert!(read(r#"{"a":Nan}"#).is_err());
    }

    #[test]
    fn half_a_surrogate_pair_is_named() {
        for text in [r#"{"a":"x \ud83d y"}"#, r#"{"a":"\\\ud83d"}"#] {
            assert!(read(text).unwrap_err().contains(r"holds `\ud83d`, half of"), "{text}");
        }
        assert!(read(r#"{"a":"\ude00"}"#).unwrap_err().contains(r"`\ude00`"));
        assert_eq!(read(r#"{"a":"\ud83d\ude00 \\ud83d"}"#).unwrap(), json!({"a": "😀 \\ud83d"}));
    }

    #[test]
    fn other_encodings_are_named() {
        let fault = fields(b"{\"a\":\"le caf\xe9 noir\"}", 1, "the line").unwrap_err();
        assert!(
            fault.message.contains("not UTF-8") && fault.message.ends_with("as Windows-1252 it says `café`")
        );
        assert!(fault.hint.unwrap().contains("iconv"));
        let neither = fields(b"{\"a\":\"\x81\"}", 1, "the line").unwrap_err();
        assert!(!neither.message.contains("Windows"), "{}", neither.message);
    }

    #[test]
    fn a_list_of_turns_is_a_conversation_and_places_are_those_of_the_file() {
        assert_eq!(read(r#"[{"role":"user"}]"#).unwrap(), json!({"messages": [{"role": "user"}]}));
        assert_eq!(read(r#"[{"from":"gpt"}]"#).unwrap(), json!({"conversations": [{"from": "gpt"}]}));
        assert!(
            read("[1]").unwrap_err().contains("expected a map at column"),
            "{}",
            read("[1]").unwrap_err()
        );
        assert!(read("{\n\"a\": 1,\n}").unwrap_err().ends_with(" at line 9 column 1"));
    }

    #[test]
    fn a_record_of_countless_values_is_refused_before_they_take_memory() {
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(RECORD_VALUES));
        assert_eq!(read(&many).unwrap_err(), "the line holds more than 2097152 values");
        let text = format!("{{\"a\":\"{}\"}}", "[,\\\"".repeat(RECORD_VALUES));
        assert!(read(&text).is_ok());
    }
}
