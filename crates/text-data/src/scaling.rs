//! How time grows with records, columns, characters and turns.
//!
//! `cargo test --release -p greentune-text-data scaling -- --ignored --nocapture` prints it.
#![allow(clippy::print_stdout)] // a table for people

use std::{path::Path, time::Instant};

use greentune_core_config::settings::Settings;
use jiff::Timestamp;

use super::{
    Dataset, Encoder,
    test_model::{CHAT_TEMPLATE, TestModel},
};

type Written = fn(usize) -> String;

const FILES: [(&str, &str, Written); 5] = [
    ("records", "records.jsonl", records),
    ("columns of a CSV", "columns.csv", columns),
    ("keys of a JSON record", "keys.jsonl", keys),
    ("characters of a record", "characters.jsonl", characters),
    ("turns of a conversation", "turns.jsonl", turns),
];

#[test]
#[ignore = "a measurement, not a check"]
fn time_grows_with_the_size() {
    let model = TestModel::with_chat_template(CHAT_TEMPLATE);
    let mut settings = Settings::default();
    settings.training.max_seq_length = 64;
    let encoder = Encoder::new(model.path(), &settings, Timestamp::UNIX_EPOCH).unwrap();
    for (what, name, write) in FILES {
        for size in [1_000, 10_000, 100_000, 1_000_000] {
            model.write_text(name, &write(size));
            let start = Instant::now();
            let loaded = Dataset::load(&model.path().join(name), &settings, &encoder, Path::new("spill"));
            let kept = loaded.map_or(0, |dataset| dataset.counts.kept);
            println!("{what} {size}: {:.3} s, {kept} kept", start.elapsed().as_secs_f64());
        }
    }
}

fn records(size: usize) -> String {
    "{\"instruction\":\"Add.\",\"output\":\"three\"}\n".repeat(size)
}

fn columns(size: usize) -> String {
    let names: Vec<String> = (0..size).map(|column| format!("c{column}")).collect();
    format!("instruction,output,{}\na,b,{}\n", names.join(","), vec![""; size].join(","))
}

fn keys(size: usize) -> String {
    let keys: Vec<String> = (0..size).map(|key| format!("\"c{key}\":1")).collect();
    format!("{{\"instruction\":\"a\",\"output\":\"b\",{}}}\n", keys.join(","))
}

fn characters(size: usize) -> String {
    format!("{{\"instruction\":\"a\",\"output\":\"{}\"}}\n", "ab ".repeat(size / 3))
}

fn turns(size: usize) -> String {
    let role = |turn: usize| if turn.is_multiple_of(2) { "user" } else { "assistant" };
    let turn = |turn| format!("{{\"role\":\"{}\",\"content\":\"x\"}}", role(turn));
    format!("{{\"messages\":[{}]}}\n", (0..size).map(turn).collect::<Vec<_>>().join(","))
}
