//! What the fields of a row mean: which schema a file's records follow, and a row's text by it.

mod columns;
mod text_parts;
mod turn;
mod turns;

use greentune_core_config::settings::{DatasetSchema, DatasetSettings};
use serde_json::Value;

pub(super) use self::turn::{Role, Turn};
use super::rows::{Fault, Fields, Reason};

/// Fields that may hold a conversation, the first that is there.
const CONVERSATION_FIELDS: [&str; 2] = ["messages", "conversations"];
/// Fields that may hold a system message beside a conversation or an instruction.
const SYSTEM_FIELDS: [&str; 2] = ["system", "system_prompt"];
/// Field of the requests before an instruction, with their answers.
const HISTORY_FIELD: &str = "history";
/// Field of the tools that the assistant may call.
const TOOLS_FIELD: &str = "tools";

/// The text of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// A request and its response.
    Instruction {
        /// What was said before: a system message, earlier requests and their answers; none of it is learnt.
        before: Vec<Turn>,
        instruction: String,
        /// Empty when there is none.
        input: String,
        response: String,
    },
    /// A conversation that ends with the assistant's turn.
    Conversation(Conversation),
    /// Text that is learnt as it stands, behind a prompt that may be empty.
    Completion { prompt: String, completion: String },
}

/// Turns of which the last is the assistant's, and at least one is learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conversation {
    pub(super) turns: Vec<Turn>,
    /// The tools that the assistant may call, as the record has them; null when it has none.
    pub(super) tools: Value,
}

impl Conversation {
    /// A conversation without tools.
    pub(super) fn new(turns: Vec<Turn>) -> Self {
        Self { turns, tools: Value::Null }
    }
}

/// The schema that a record with these fields follows; alpaca, whose fields the settings name, when nothing speaks
/// for another.
pub(super) fn recognise(fields: &Fields, names: &DatasetSettings) -> DatasetSchema {
    let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    if let Some(turns) = CONVERSATION_FIELDS.into_iter().find(|name| has(name)) {
        let found = turns::list(turns, &fields[turns]).unwrap_or_default();
        let first = found.first().cloned().unwrap_or_default();
        let sharegpt = first.get("from").is_some() || (first.get("role").is_none() && turns != "messages");
        return if sharegpt { DatasetSchema::Sharegpt } else { DatasetSchema::Messages };
    }
    if has(&names.instruction_field) && has(&names.output_field) {
        return DatasetSchema::Alpaca;
    }
    if has("prompt") && has("completion") {
        let conversational = turns::are_in(&fields["prompt"]) || turns::are_in(&fields["completion"]);
        return if conversational { DatasetSchema::Messages } else { DatasetSchema::Completion };
    }
    if has("text") { DatasetSchema::Completion } else { DatasetSchema::Alpaca }
}

/// Every field that a record of any schema may have.
pub(super) fn known_fields(names: &DatasetSettings) -> Vec<&str> {
    let mut known: Vec<&str> = vec![&names.instruction_field, &names.input_field, &names.output_field];
    known.push(&names.quality_field);
    known.extend(CONVERSATION_FIELDS);
    known.extend(["text", "prompt", "completion", HISTORY_FIELD, TOOLS_FIELD]);
    known.extend(SYSTEM_FIELDS);
    known
}

/// The text of a record of the schema `schema`.
pub(super) fn body(fields: &Fields, schema: DatasetSchema, names: &DatasetSettings) -> Result<Body, Fault> {
    match schema {
        DatasetSchema::Messages => turns::conversation(fields, "role", "content"),
        DatasetSchema::Sharegpt => turns::conversation(fields, "from", "value"),
        DatasetSchema::Completion => completion(fields),
        DatasetSchema::Auto | DatasetSchema::Alpaca => instruction(fields, names),
    }
}

fn instruction(fields: &Fields, names: &DatasetSettings) -> Result<Body, Fault> {
    let named = |name: &str, key: &str| {
        text(fields, name).map_err(|fault| match fault.code {
            "data.missing_field" => {
                let hint =
                    format!("dataset.{key} names the field; dataset.schema says what a record looks like");
                let fault = fault.with_hint(hint);
                Fault { columns: if fields.contains_key(name) { None } else { offer(fields) }, ..fault }
            }
            _ => fault,
        })
    };
    let body = Body::Instruction {
        instruction: named(&names.instruction_field, "instruction_field")?,
        input: optional_text(fields, &names.input_field)?,
        response: named(&names.output_field, "output_field")?,
        before: turns::before(fields)?,
    };
    match &body {
        Body::Instruction { response, .. } if is_blank(response) => {
            Err(empty(&format!("the response (field `{}`) is empty", names.output_field)))
        }
        _ => Ok(body),
    }
}

/// What the fields are likely to mean.
fn offer(fields: &Fields) -> Option<String> {
    columns::offer(fields.keys().map(String::as_str))
}

/// What the columns of a table without a known field are likely to mean, as a preparation takes it.
pub(super) fn columns_offer(found: &[String]) -> Option<String> {
    columns::offer(found.iter().map(String::as_str))
}

fn completion(fields: &Fields) -> Result<Body, Fault> {
    if turns::are_in_any(fields, &["prompt", "completion"]) {
        return turns::conversation(fields, "role", "content");
    }
    let (prompt, completion) = if fields.contains_key("completion") {
        (text(fields, "prompt")?, text(fields, "completion")?)
    } else {
        (String::new(), text(fields, "text")?)
    };
    if is_blank(&completion) {
        return Err(empty("the text is empty"));
    }
    Ok(Body::Completion { prompt, completion })
}

fn text(fields: &Fields, name: &str) -> Result<String, Fault> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        None | Some(Value::Null) => Err(missing(fields, name)),
        Some(other) => Err(wrong_type(&format!("field `{name}`"), other, "a string")),
    }
}

fn optional_text(fields: &Fields, name: &str) -> Result<String, Fault> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(_) => text(fields, name),
    }
}

fn missing(fields: &Fields, name: &str) -> Fault {
    let message = if fields.contains_key(name) {
        format!("field `{name}` is null; allowed: a string")
    } else {
        let found: Vec<_> = fields.keys().take(8).map(|field| format!("`{field}`")).collect();
        format!("there is no field `{name}`; found: {}", found.join(", "))
    };
    Fault::new(Reason::MissingField, "data.missing_field", message)
        .with_hint("dataset.schema says what a record looks like")
}

fn wrong_type(what: &str, found: &Value, allowed: &str) -> Fault {
    let message = format!("{what} is {}; allowed: {allowed}", type_name(found));
    Fault::new(Reason::MissingField, "data.field_type", message)
}

fn empty(message: &str) -> Fault {
    Fault::new(Reason::EmptyResponse, "data.empty_response", message)
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn recognised(value: &Value) -> DatasetSchema {
        recognise(&fields(value), &DatasetSettings::default())
    }

    fn read(value: &Value) -> Result<Body, Fault> {
        body(&fields(value), recognised(value), &DatasetSettings::default())
    }

    fn fault(value: &Value) -> (Reason, String) {
        let fault = read(value).unwrap_err();
        (fault.reason, fault.message)
    }

    #[test]
    fn schemas_are_recognised_by_their_fields() {
        for (record, schema) in [
            (json!({"instruction": "a", "output": "b"}), "alpaca"),
            (json!({"instruction": "a", "output": "b", "text": "both"}), "alpaca"),
            (json!({"messages": [{"role": "user", "content": "a"}]}), "messages"),
            (json!({"messages": [], "prompt": "a"}), "messages"),
            (json!({"conversations": [{"from": "human", "value": "a"}]}), "sharegpt"),
            (json!({"conversations": [{"role": "user", "content": "a"}]}), "messages"),
            (json!({"messages": "[{\"from\": \"human\"}]"}), "sharegpt"),
            (json!({"text": "a"}), "completion"),
            (json!({"prompt": "a", "completion": "b"}), "completion"),
            (json!({"messages": null, "text": "a"}), "completion"),
            (json!({"question": "a"}), "alpaca"),
        ] {
            assert_eq!(recognised(&record).as_str(), schema, "{record}");
        }
    }

    #[test]
    fn both_conversations_are_the_same_turns() {
        let messages = json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
            {"role": "assistant", "content": "a"}]});
        let sharegpt = json!({"system": "s", "conversations": [{"from": "human", "value": "u"},
            {"from": "gpt", "value": "a"}]});
        let Body::Conversation(talk) = read(&messages).unwrap() else { panic!("no conversation") };
        assert_eq!(
            talk.turns.iter().map(|turn| turn.role.as_str()).collect::<Vec<_>>(),
            ["system", "user", "assistant"]
        );
        assert_eq!(read(&sharegpt).unwrap(), Body::Conversation(talk));
    }

    #[test]
    fn plain_text_and_prompt_with_completion() {
        let body = |prompt: &str, completion: &str| Body::Completion {
            prompt: prompt.into(),
            completion: completion.into(),
        };
        assert_eq!(read(&json!({"text": "once"})).unwrap(), body("", "once"));
        assert_eq!(read(&json!({"prompt": "a", "completion": " b"})).unwrap(), body("a", " b"));
        assert_eq!(fault(&json!({"text": " "})).0, Reason::EmptyResponse);
    }

    #[test]
    fn says_which_field_and_what_was_found() {
        let missing = read(&json!({"question": "a", "output": "b"})).unwrap_err();
        assert_eq!(missing.message, "there is no field `instruction`; found: `question`, `output`");
        assert!(missing.hint.unwrap().starts_with("dataset.instruction_field names the field"));
        let wrong = read(&json!({"instruction": "a", "output": 3})).unwrap_err();
        assert_eq!((wrong.reason, wrong.code), (Reason::MissingField, "data.field_type"));
        assert_eq!(wrong.message, "field `output` is a number; allowed: a string");
        assert_eq!(
            read(&json!({"instruction": "a", "input": [], "output": "b"})).unwrap_err().code,
            "data.field_type"
        );
        assert_eq!(fault(&json!({"instruction": "a", "output": " \n"})).0, Reason::EmptyResponse);
        assert_eq!(fault(&json!({"instruction": "a", "output": null})).0, Reason::MissingField);
    }

    #[test]
    fn what_is_wrong_with_a_conversation_is_named_by_turn() {
        let turns = |turns: Value| json!({"messages": turns});
        let turn = |role: &str, content: &str| json!({"role": role, "content": content});
        let of = |record: Value| fault(&record);
        assert_eq!(
            of(turns(json!([turn("user", "a"), turn("critic", "b")]))),
            (
                Reason::UnknownRole,
                "turn 2 is of the role `critic`; allowed: system, user, assistant, tool".into()
            )
        );
        let (reason, message) =
            of(turns(json!([turn("user", "a"), turn("assistant", "b"), turn("user", "c")])));
        assert_eq!(reason, Reason::EndsWithUser);
        assert!(message.contains("a turn of the user"), "{message}");
        let (reason, message) =
            of(turns(json!([turn("user", "a"), turn("assistant", " "), turn("assistant", "b")])));
        assert_eq!((reason, message.contains("turn 2")), (Reason::EmptyResponse, true));
        assert_eq!(of(turns(json!([]))).0, Reason::EmptyResponse);
        assert_eq!(
            of(turns(json!({"role": "user"}))).1,
            "field `messages` is an object; allowed: a list of turns"
        );
        assert_eq!(of(turns(json!([{"role": "user"}]))).1, "turn 1 has no `content`");
        assert_eq!(of(turns(json!(["hello"]))).1, "turn 1 has no `role`");
        assert_eq!(
            of(turns(json!([{"role": "user", "content": 3}]))).1,
            "`content` of turn 1 is a number; allowed: a string"
        );
    }
}
