//! A chat template, or a prompt template of a project, with conversations.
//!
//! The input is a template; what follows its first NUL are records, of which there are some where it has none.
#![no_main]

use std::sync::LazyLock;

use greentune_fuzz::{Scratch, allow_caught_panics, read_records, settings};
use greentune_text_data::Encoder;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const RECORDS: &str = r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello?"},{"role":"assistant","content":" Yes. "},{"role":"user","content":"And \"then\"?"},{"role":"assistant","content":"<|end|>Nothing.\n"}]}
{"messages":[{"role":"user","content":"Look","tool_calls":null},{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"look","arguments":{"a":[1,2.5,null,true]}}}]},{"role":"tool","content":"{}"},{"role":"assistant","content":"done"}]}
"#;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    scratch.copy("reference/olmo2-tiny/tokenizer.json", "model/tokenizer.json");
    scratch.copy("reference/olmo2-tiny/tokenizer_config.json", "model/tokenizer_config.json");
    scratch
});

fuzz_target!(init: allow_caught_panics(), |text: &str| {
    let (form, text) = if text.is_char_boundary(1) { text.split_at(1) } else { ("", text) };
    let (template, records) = text.split_once('\0').unwrap_or((text, RECORDS));
    let mut settings = settings();
    if form == "p" {
        settings.dataset.prompt_template = Some(template.to_owned());
    } else {
        SCRATCH.write("model/chat_template.jinja", template.as_bytes());
    }
    let path = SCRATCH.write("data.jsonl", records.as_bytes());
    let Ok(encoder) = Encoder::new(&SCRATCH.path("model"), &settings, Timestamp::UNIX_EPOCH) else { return };
    read_records(&path, &settings, &encoder, &SCRATCH);
});
