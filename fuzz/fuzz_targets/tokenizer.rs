//! A model's `tokenizer.json` or `tokenizer_config.json`, and records that are read with it.
#![no_main]

use std::sync::LazyLock;

use greentune_fuzz::{Scratch, allow_caught_panics, read_records, settings};
use greentune_text_data::Encoder;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const RECORDS: &str = r#"{"instruction":"Say  Ünïcode 日本 1234 <|end|>","output":"yes \u0000 of course\n\n"}
{"instruction":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!","output":"b"}
"#;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    scratch.copy("reference/olmo2-tiny/tokenizer_config.json", "own/tokenizer_config.json");
    scratch.copy("reference/olmo2-tiny/tokenizer.json", "named/tokenizer.json");
    scratch.write("data.jsonl", RECORDS.as_bytes());
    scratch
});

fuzz_target!(init: allow_caught_panics(), |data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let (folder, file) =
        if form % 4 == 0 { ("named", "tokenizer_config.json") } else { ("own", "tokenizer.json") };
    SCRATCH.write(&format!("{folder}/{file}"), data);
    let Ok(encoder) = Encoder::new(&SCRATCH.path(folder), &settings(), Timestamp::UNIX_EPOCH) else { return };
    read_records(&SCRATCH.path("data.jsonl"), &settings(), &encoder, &SCRATCH);
    if let Ok(ids) = encoder.tokenizer().encode("Say  Ünïcode 日本 1234") {
        let _ = encoder.tokenizer().decode(&ids, true);
    }
});
