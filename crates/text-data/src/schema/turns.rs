//! Conversations: where a record holds their turns, and what is learnt of them.

use serde_json::{Value, json};

use super::{
    super::rows::{Fault, Fields, Reason},
    Body, CONVERSATION_FIELDS, Conversation, HISTORY_FIELD, Role, SYSTEM_FIELDS, TOOLS_FIELD, Turn, empty,
    is_blank, missing, optional_text, wrong_type,
};

/// The conversation of a record: its list of turns, or a prompt and a completion that are lists of turns (TRL's
/// conversational form), of which the completion alone is learnt.
pub(super) fn conversation(fields: &Fields, role_key: &str, content_key: &str) -> Result<Body, Fault> {
    let read = |value: &Value, name: &str| -> Result<Vec<Turn>, Fault> {
        let found = list(name, value)?;
        let numbered = found.iter().enumerate();
        numbered.map(|(index, turn)| read_turn(turn, index + 1, role_key, content_key)).collect()
    };
    let is_there = |name: &&str| fields.get(*name).is_some_and(|value| !value.is_null());
    let mut turns = match CONVERSATION_FIELDS.into_iter().find(is_there) {
        Some(name) => read(&fields[name], name)?,
        None if is_there(&"prompt") && is_there(&"completion") => {
            let side = |name: &str, role: Role| match &fields[name] {
                Value::String(text) if !are_in(&fields[name]) => Ok(vec![Turn::new(role, text.clone())]),
                value => read(value, name),
            };
            let mut turns: Vec<_> = side("prompt", Role::User)?.into_iter().map(Turn::unlearnt).collect();
            turns.extend(side("completion", Role::Assistant)?);
            turns
        }
        None => return Err(missing(fields, CONVERSATION_FIELDS[0])),
    };
    if turns.first().is_some_and(|turn| turn.role != Role::System) {
        turns.splice(0..0, system(fields)?);
    }
    ending_with_answer(turns, tools(fields))
}

/// The system message and the earlier requests beside an instruction. They are read and not learnt.
pub(super) fn before(fields: &Fields) -> Result<Vec<Turn>, Fault> {
    let mut turns: Vec<Turn> = system(fields)?.into_iter().collect();
    let history = match fields.get(HISTORY_FIELD) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if is_blank(text) => Vec::new(),
        Some(value) => list(HISTORY_FIELD, value)?,
    };
    for (index, said) in history.iter().enumerate() {
        match said {
            Value::Array(pair) if pair.len() == 2 => {
                for (text, role) in pair.iter().zip([Role::User, Role::Assistant]) {
                    let Value::String(text) = text else {
                        let what = format!("a part of entry {} of `{HISTORY_FIELD}`", index + 1);
                        return Err(wrong_type(&what, text, "a string"));
                    };
                    turns.push(Turn::new(role, text.clone()).unlearnt());
                }
            }
            Value::Object(_) => turns.push(read_turn(said, index + 1, "role", "content")?.unlearnt()),
            other => {
                let what = format!("entry {} of `{HISTORY_FIELD}`", index + 1);
                return Err(wrong_type(&what, other, "a request and its answer"));
            }
        }
    }
    Ok(turns)
}

/// The turns in the field `name`: a list; an object of lists, one per key, as tables of structs have it; or a text
/// that holds one of these as JSON, as tables without nested columns have it.
pub(super) fn list(name: &str, value: &Value) -> Result<Vec<Value>, Fault> {
    let not_a_list = || wrong_type(&format!("field `{name}`"), value, "a list of turns");
    match value {
        Value::Array(turns) => Ok(turns.clone()),
        Value::Object(columns) => transposed(columns).ok_or_else(not_a_list),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(turns)) => Ok(turns),
            Ok(Value::Object(columns)) => transposed(&columns).ok_or_else(not_a_list),
            _ if is_python(text) => Err(python(name)),
            _ => Err(not_a_list()),
        },
        _ => Err(not_a_list()),
    }
}

/// Whether the value holds turns rather than a text.
pub(super) fn are_in(value: &Value) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) => true,
        Value::String(text) => {
            let names_a_role = ["role", "from"].iter().any(|key| text.contains(&format!("\"{key}\"")));
            is_python(text) || (text.trim_start().starts_with('[') && names_a_role && list("", value).is_ok())
        }
        _ => false,
    }
}

/// Whether one of these fields holds turns.
pub(super) fn are_in_any(fields: &Fields, names: &[&str]) -> bool {
    names.iter().any(|name| fields.get(*name).is_some_and(are_in))
}

/// The turn in `message`. One whose keys are those of the other form of conversations is read by those.
fn read_turn(message: &Value, number: usize, role_key: &str, content_key: &str) -> Result<Turn, Fault> {
    let key = |declared: &'static str, other: &'static str| {
        if message.get(declared).is_none() && message.get(other).is_some() { other } else { declared }
    };
    let (role_key, content_key) = match (role_key, content_key) {
        ("from", _) => (key("from", "role"), key("value", "content")),
        _ => (key("role", "from"), key("content", "value")),
    };
    Turn::read(message, number, role_key, content_key)
}

fn ending_with_answer(turns: Vec<Turn>, tools: Value) -> Result<Body, Fault> {
    match turns.last().map(|turn| turn.role) {
        Some(Role::Assistant) => {}
        Some(role) => {
            let message =
                format!("the conversation ends with a turn of the {}, which nothing answers", role.as_str());
            return Err(Fault::new(Reason::EndsWithUser, "data.ends_with_user", message)
                .with_hint("end it with the assistant's turn"));
        }
        None => return Err(empty("the conversation holds no turn")),
    }
    if !turns.iter().any(|turn| turn.is_learnt) {
        let message = "no turn of the assistant may be learnt: the messages' own keys (`weight`, `train`, …) exclude each";
        return Err(Fault::new(Reason::NothingToLearn, "data.nothing_to_learn", message)
            .with_hint("leave such records out, or give one message `weight` 1"));
    }
    Ok(Body::Conversation(Conversation { turns, tools }))
}

fn system(fields: &Fields) -> Result<Option<Turn>, Fault> {
    for name in SYSTEM_FIELDS {
        let text = optional_text(fields, name)?;
        if !is_blank(&text) {
            return Ok(Some(Turn::new(Role::System, text)));
        }
    }
    Ok(None)
}

fn tools(fields: &Fields) -> Value {
    let found = match fields.get(TOOLS_FIELD) {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(value) => value.clone(),
        None => Value::Null,
    };
    if found.as_array().is_some_and(Vec::is_empty) { Value::Null } else { found }
}

/// An object of lists of equal length as a list of objects.
fn transposed(columns: &Fields) -> Option<Vec<Value>> {
    let lists: Vec<_> =
        columns.iter().map(|(key, value)| Some((key, value.as_array()?))).collect::<Option<_>>()?;
    let length = lists.first()?.1.len();
    if lists.iter().any(|(_, list)| list.len() != length) {
        return None;
    }
    let row =
        |row: usize| lists.iter().map(|(key, list)| ((*key).clone(), list[row].clone())).collect::<Fields>();
    Some((0..length).map(|index| json!(row(index))).collect())
}

/// Whether a text is what Python's `repr` gives for a list of objects.
fn is_python(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with('[')
        && text[1..].trim_start().starts_with('{')
        && ["'role'", "'from'", "'content'", "'value'"].iter().any(|key| text.contains(key))
        && serde_json::from_str::<Value>(text).is_err()
}

fn python(name: &str) -> Fault {
    let message = format!("field `{name}` holds a list in Python's notation (`repr`), which is not JSON");
    Fault::new(Reason::MissingField, "data.python_repr", message).with_hint(
        "write the field with json.dumps, or the table as JSON lines: df.to_json(path, orient=\"records\", lines=True)",
    )
}
