//! Control tokens in contents: marked before a template sees them, so that they are encoded as the text that they are.
//!
//! A content that spells out `<|endoftext|>` or another model's `<|im_start|>` would end a turn, or begin one that
//! nobody said. The marks and how they are read back are those of transformers'
//! `apply_chat_template(sanitize_control_tokens=True)` (5.23).

use std::{collections::HashMap, ops::Range};

use serde_json::Value;

const START: char = '\u{f0000}';
const END: char = '\u{f0001}';

/// The control tokens of a tokenizer: its special tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct ControlTokens {
    /// By their first byte, longer ones first, so that one comes before those that it contains.
    by_first_byte: HashMap<u8, Vec<String>>,
}

/// A piece of a marked text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it stands in the marked text.
    pub(super) range: Range<usize>,
    /// Whether it is a control token that a content spells out, which is encoded as text.
    pub(super) is_plain: bool,
}

impl ControlTokens {
    pub(super) fn new(tokens: impl IntoIterator<Item = String>) -> Self {
        let mut by_first_byte: HashMap<u8, Vec<String>> = HashMap::new();
        for token in tokens {
            if let Some(first) = token.bytes().next() {
                by_first_byte.entry(first).or_default().push(token);
            }
        }
        for tokens in by_first_byte.values_mut() {
            tokens.sort_by_key(|token| std::cmp::Reverse(token.len()));
        }
        Self { by_first_byte }
    }

    /// How many times `text` spells out one of them.
    pub(super) fn count(&self, text: &str) -> u64 {
        self.matches(text).len() as u64
    }

    /// `text` with marks around those that it spells out.
    pub(super) fn mark(&self, text: &str) -> String {
        let text = unmarked(text);
        let (mut marked, mut end) = (String::with_capacity(text.len()), 0);
        for found in self.matches(&text) {
            marked.push_str(&text[end..found.start]);
            marked.push(START);
            marked.push_str(&text[found.clone()]);
            marked.push(END);
            end = found.end;
        }
        marked + &text[end..]
    }

    /// `value` with marks in all of its texts but for keys.
    pub(super) fn mark_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mark(text)),
            Value::Array(items) => items.iter().map(|item| self.mark_value(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| (key.clone(), self.mark_value(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// How many times the texts of `value` spell one of them out.
    pub(super) fn count_value(&self, value: &Value) -> u64 {
        match value {
            Value::String(text) => self.count(text),
            Value::Array(items) => items.iter().map(|item| self.count_value(item)).sum(),
            Value::Object(fields) => fields.values().map(|value| self.count_value(value)).sum(),
            _ => 0,
        }
    }

    /// The pieces of a marked text, without empty ones. A mark that a template has cut off from its token is dropped;
    /// the text on its two sides stays apart.
    pub(super) fn pieces(&self, marked: &str) -> Vec<Piece> {
        let (mut pieces, mut start, mut at) = (Vec::new(), 0, 0);
        let mut push = |range: Range<usize>, is_plain| {
            if !range.is_empty() {
                pieces.push(Piece { range, is_plain });
            }
        };
        while let Some(found) = marked[at..].find([START, END]) {
            let mark = at + found;
            push(start..mark, false);
            let token = mark + START.len_utf8();
            let end = self.starting(&marked[token..]).map(|length| token + length);
            at = match end.filter(|end| marked[mark..].starts_with(START) && marked[*end..].starts_with(END))
            {
                Some(end) => {
                    push(token..end, true);
                    end + END.len_utf8()
                }
                None => token,
            };
            start = at;
        }
        push(start..marked.len(), false);
        pieces
    }

    /// Where `text` spells out one of them, leftmost and longest first.
    fn matches(&self, text: &str) -> Vec<Range<usize>> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < text.len() {
            if let Some(length) = self.starting(&text[at..]) {
                found.push(at..at + length);
                at += length;
            } else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        found
    }

    /// Length of the longest of them that `text` begins with.
    fn starting(&self, text: &str) -> Option<usize> {
        let tokens = self.by_first_byte.get(text.as_bytes().first()?)?;
        tokens.iter().find(|token| text.starts_with(token.as_str())).map(String::len)
    }
}

/// Whether there is a mark in the text.
pub(super) fn is_marked(text: &str) -> bool {
    text.contains([START, END])
}

/// A marked text without its marks.
pub(super) fn unmarked(text: &str) -> String {
    text.replace([START, END], "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokens() -> ControlTokens {
        ControlTokens::new(["<s>", "<s>x", "</s>"].map(str::to_owned))
    }

    fn pieces(marked: &str) -> Vec<(&str, bool)> {
        tokens().pieces(marked).into_iter().map(|piece| (&marked[piece.range], piece.is_plain)).collect()
    }

    #[test]
    fn marks_go_around_whole_tokens_and_the_longest_wins() {
        let tokens = tokens();
        assert_eq!((tokens.count("a<s>b</s><s>xé"), tokens.count("<S> <s")), (3, 0));
        let marked = tokens.mark("a<s>b</s>\u{f0001}c");
        assert_eq!(marked, "a\u{f0000}<s>\u{f0001}b\u{f0000}</s>\u{f0001}c");
        assert_eq!(unmarked(&marked), "a<s>b</s>c");
        let value = json!({"<s>": ["</s>", 1, null], "b": {"c": "x"}});
        assert_eq!(tokens.count_value(&value), 1);
        assert_eq!(
            tokens.mark_value(&value),
            json!({"<s>": ["\u{f0000}</s>\u{f0001}", 1, null], "b": {"c": "x"}})
        );
    }

    #[test]
    fn pieces_keep_the_templates_tokens_apart_from_those_of_contents() {
        assert_eq!(
            pieces(&format!("<s>{}</s>", tokens().mark("a</s>"))),
            [("<s>a", false), ("</s>", true), ("</s>", false)]
        );
        assert_eq!(pieces("no marks"), [("no marks", false)]);
        // A template may split at a token, or cut a part of it off.
        assert_eq!(pieces("a\u{f0000}b\u{f0001}<s>"), [("a", false), ("b", false), ("<s>", false)]);
        assert!(pieces("").is_empty());
    }
}
