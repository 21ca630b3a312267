//! Token ids and labels of whole conversations, against what transformers makes of them.

use std::{fs, path::PathBuf};

use greentune_core_config::settings::Settings;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        example::Example,
        record::Record,
        schema::{Body, Conversation, Role, Turn},
    },
    Encoder,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/chat")
}

fn fixture() -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join("conversations.json")).unwrap()).unwrap()
}

fn encoder(model: &str) -> Encoder {
    let model = folder().join("models").join(model);
    Encoder::new(&model, &Settings::default(), Timestamp::UNIX_EPOCH).unwrap()
}

fn encode(encoder: &Encoder, body: Body) -> Example {
    let record = Record { line: 1, body, quality: Value::Null, high_quality: false };
    encoder.encode(&record).unwrap().unwrap()
}

fn turn(message: &Value) -> Turn {
    let role = match message["role"].as_str().unwrap() {
        "system" => Role::System,
        "user" => Role::User,
        "tool" => Role::Tool,
        _ => Role::Assistant,
    };
    let mut turn = Turn::new(role, message["content"].as_str().unwrap());
    let extras =
        message.as_object().unwrap().iter().filter(|(key, _)| !["role", "content"].contains(&key.as_str()));
    turn.extras = extras.map(|(key, value)| (key.clone(), value.clone())).collect();
    turn
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn conversations_have_the_tokens_of_transformers_and_its_labels() {
    for case in fixture()["conversations"].as_array().unwrap() {
        let encoder = encoder(case["model"].as_str().unwrap());
        let turns = case["messages"].as_array().unwrap().iter().map(turn).collect();
        let conversation = Conversation { turns, tools: case["tools"].clone() };
        let example = encode(&encoder, Body::Conversation(conversation));
        let decode = |ids: &[u32]| encoder.tokenizer().decode(ids, true).unwrap();
        // What follows the last answer, such as a newline, is left out.
        let expected = &ids(&case["ids"])[..example.tokens.len()];
        assert_eq!(example.tokens, expected, "{case}\n{}", decode(&example.tokens));
        assert_eq!(example.labels.last().unwrap().end, example.tokens.len());
        if let Some(mask) = case["mask"].as_array() {
            let learnt =
                mask.iter().enumerate().filter(|(_, label)| **label == 1).map(|(position, _)| position);
            assert_eq!(
                example.labelled_positions().collect::<Vec<_>>(),
                learnt.collect::<Vec<_>>(),
                "{case}"
            );
        } else {
            let learnt: Vec<_> =
                example.labels.iter().map(|range| decode(&example.tokens[range.clone()])).collect();
            let expected: Vec<_> = case["learnt"]
                .as_array()
                .unwrap()
                .iter()
                .map(|text| text.as_str().unwrap().trim_start())
                .collect();
            assert_eq!(learnt, expected, "{case}");
        }
    }
}

#[test]
fn prompt_and_completion_have_the_tokens_of_the_whole_text() {
    let encoder = encoder("llama-2");
    for case in fixture()["completions"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        let (prompt, completion) = (text("prompt"), text("completion"));
        let example = encode(&encoder, Body::Completion { prompt, completion: completion.clone() });
        assert_eq!(example.tokens, ids(&case["ids"]), "{case}");
        let learnt = encoder.tokenizer().decode(example.response_tokens(), true).unwrap();
        assert!(learnt.ends_with(&(completion.trim().to_owned() + "</s>")), "{case}: {learnt}");
    }
}
