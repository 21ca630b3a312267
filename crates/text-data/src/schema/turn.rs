//! A turn of a conversation: who speaks, what is said, and whether it is learnt.

use serde_json::{Value, json};

use super::{
    super::rows::{Fault, Fields, Reason},
    empty, is_blank, text_parts, wrong_type,
};

/// Keys of a message that say whether it is learnt, with the value that a learnt message has: OpenAI's `weight`,
/// Axolotl's `training` and `train`, ms-swift's and XTuner's `loss`, torchtune's `masked`.
const LEARNT_KEYS: [(&str, bool); 9] = [
    ("weight", true),
    ("train", true),
    ("training", true),
    ("trainable", true),
    ("train_on_turn", true),
    ("loss", true),
    ("learn", true),
    ("masked", false),
    ("mask", false),
];

/// Keys of a message whose meaning is that a part of its content is learnt (Axolotl's).
const PARTLY_LEARNT_KEYS: [&str; 2] = ["train_detail", "training_detail"];

/// What one of the speakers says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) content: String,
    /// Whether the loss is computed on it. Only a turn of the assistant is ever learnt.
    pub(crate) is_learnt: bool,
    /// What else a chat template may read of the message, such as `tool_calls`, `tool_call_id`, `name` or
    /// `reasoning_content`, as the record has it. None of it is null.
    pub(crate) extras: Fields,
}

/// A speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    System,
    User,
    Assistant,
    /// What a tool answers to the assistant's call.
    Tool,
}

impl Role {
    /// The word that chat templates know.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "system" | "developer" => Self::System,
            "user" | "human" => Self::User,
            "assistant" | "gpt" | "chatgpt" | "model" | "bot" | "function_call" => Self::Assistant,
            "tool" | "function" | "ipython" | "observation" | "tool_response" => Self::Tool,
            _ => return None,
        })
    }
}

impl Turn {
    /// A turn that is learnt if the assistant says it.
    pub(crate) fn new(role: Role, content: impl Into<String>) -> Self {
        let is_learnt = role == Role::Assistant;
        Self { role, content: content.into(), is_learnt, extras: Fields::new() }
    }

    /// The same turn, which is read and not learnt.
    pub(crate) fn unlearnt(self) -> Self {
        Self { is_learnt: false, ..self }
    }

    /// The calls of tools in it; empty when there are none.
    pub(crate) fn tool_calls(&self) -> &[Value] {
        self.extras.get("tool_calls").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The turn number `number` (from 1) of a record, whose role and content stand under these keys.
    pub(super) fn read(
        message: &Value,
        number: usize,
        role_key: &str,
        content_key: &str,
    ) -> Result<Self, Fault> {
        let word = role_word(message, number, role_key, content_key)?;
        let Some(role) = Role::of(word) else {
            let message =
                format!("turn {number} is of the role `{word}`; allowed: system, user, assistant, tool");
            return Err(Fault::new(Reason::UnknownRole, "data.unknown_role", message)
                .with_hint("in ShareGPT's words: system, human, gpt, function_call, observation"));
        };
        let mut extras = extras(message, role_key, content_key);
        let mut content = content(message, number, role_key, content_key, !extras.is_empty())?;
        if word == "function_call" {
            extras.insert("tool_calls".to_owned(), calls_in(&content, number)?);
            content.clear();
        }
        let is_learnt = is_learnt(message, number)? && role == Role::Assistant;
        let turn = Self { role, content, is_learnt, extras };
        if role == Role::Assistant && is_blank(&turn.content) && turn.tool_calls().is_empty() {
            return Err(empty(&format!("turn {number}, the assistant's, is empty")));
        }
        Ok(turn)
    }
}

fn role_word<'a>(
    message: &'a Value,
    number: usize,
    role_key: &str,
    content_key: &str,
) -> Result<&'a str, Fault> {
    match message.get(role_key) {
        Some(Value::String(word)) => Ok(word.trim()),
        None | Some(Value::Null) => Err(missing(number, role_key, role_key, content_key)),
        Some(other) => Err(wrong_type(&format!("`{role_key}` of turn {number}"), other, "a string")),
    }
}

fn content(
    message: &Value,
    number: usize,
    role_key: &str,
    content_key: &str,
    may_be_absent: bool,
) -> Result<String, Fault> {
    let what = || format!("`{content_key}` of turn {number}");
    match message.get(content_key) {
        // A call of a tool has no content of its own.
        None | Some(Value::Null) if may_be_absent => Ok(String::new()),
        None | Some(Value::Null) => Err(missing(number, content_key, role_key, content_key)),
        Some(value) => text_parts::text(value, &what()),
    }
}

fn missing(number: usize, key: &str, role_key: &str, content_key: &str) -> Fault {
    Fault::new(Reason::MissingField, "data.missing_field", format!("turn {number} has no `{key}`"))
        .with_hint(format!("each turn is an object with `{role_key}` and `{content_key}`"))
}

/// What the message holds beside role, content and what says whether it is learnt.
fn extras(message: &Value, role_key: &str, content_key: &str) -> Fields {
    let is_own = |key: &str| {
        key == role_key || key == content_key || LEARNT_KEYS.iter().any(|(learnt, _)| *learnt == key)
    };
    let is_void = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let mut extras: Fields = message
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| !is_own(key) && !is_void(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    // OpenAI's first form: one call, of a function.
    if let Some(function) = extras.shift_remove("function_call") {
        extras.entry("tool_calls").or_insert_with(|| json!([{"type": "function", "function": function}]));
    }
    // Tables without nested columns hold the calls as a text.
    if let Some(Value::String(text)) = extras.get("tool_calls")
        && let Ok(calls @ Value::Array(_)) = serde_json::from_str(text)
    {
        extras.insert("tool_calls".to_owned(), calls);
    }
    extras
}

/// Whether the message's own keys let it be learnt.
fn is_learnt(message: &Value, number: usize) -> Result<bool, Fault> {
    if let Some(key) =
        PARTLY_LEARNT_KEYS.into_iter().find(|key| message.get(key).is_some_and(|value| !value.is_null()))
    {
        let message = format!(
            "`{key}` of turn {number} marks parts of a message; a message is learnt whole or not at all"
        );
        return Err(Fault::new(Reason::MissingField, "data.message_weight", message)
            .with_hint("split the message, or give it `weight` 0 or 1"));
    }
    for (key, when_learnt) in LEARNT_KEYS {
        let Some(value) = message.get(key).filter(|value| !value.is_null()) else { continue };
        let Some(flag) = flag(value) else {
            let message = format!("`{key}` of turn {number} is {value}; allowed: 0 or 1, false or true");
            return Err(Fault::new(Reason::MissingField, "data.message_weight", message).with_hint(
                "a message is learnt or not; to have a record drawn more often, give it a `quality`",
            ));
        };
        if flag != when_learnt {
            return Ok(false);
        }
    }
    Ok(true)
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(word) => match word.trim().to_ascii_lowercase().as_str() {
            "0" | "0.0" | "false" => Some(false),
            "1" | "1.0" | "true" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// The calls in the content of a turn of the role `function_call`, which LLaMA-Factory's ShareGPT has: an object with
/// `name` and `arguments`, or a list of such.
fn calls_in(content: &str, number: usize) -> Result<Value, Fault> {
    let calls = match serde_json::from_str(content) {
        Ok(Value::Array(calls)) => calls,
        Ok(call @ Value::Object(_)) => vec![call],
        _ => Vec::new(),
    };
    if calls.is_empty() || calls.iter().any(|call| call["name"].as_str().is_none()) {
        let message = format!("turn {number} is of the role `function_call` and holds no call");
        return Err(Fault::new(Reason::MissingField, "data.field_type", message)
            .with_hint("its value is JSON with `name` and `arguments`"));
    }
    Ok(calls.into_iter().map(|function| json!({"type": "function", "function": function})).collect())
}
