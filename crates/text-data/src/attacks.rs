//! Templates, tokenizers and records that are made to run for ever or to fill the memory: the record is named and left
//! out, or the data set is refused with its name.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use greentune_core_config::{Diagnostic, Problem, settings::Settings};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Dataset, Encoder,
    error::DataError,
    test_model::{CHAT_TEMPLATE, TestModel},
    watch::Limits,
};

const QUICK: Limits = Limits { time: Duration::from_millis(500), memory: u64::MAX };

fn load(model: &TestModel, instructions: &[&str], limits: Limits) -> Result<Dataset, DataError> {
    let line = |instruction: &&str| json!({"instruction": instruction, "output": "b"}).to_string() + "\n";
    model.write_text("train.jsonl", &instructions.iter().map(line).collect::<String>());
    let mut settings = Settings::default();
    settings.training.max_seq_length = 4096;
    let encoder = Encoder::with_limits(model.path(), &settings, Timestamp::UNIX_EPOCH, limits)?;
    Dataset::load(&model.path().join("train.jsonl"), &settings, &encoder, Path::new("spill"))
}

/// The only record that is left out of three, the second.
fn left_out(dataset: &Dataset) -> &Problem {
    let counts = &dataset.counts;
    assert_eq!((counts.read, counts.kept, counts.given_up), (3, 2, 1), "{counts:?}");
    let [problem] = &counts.problems[..] else { panic!("one is left out") };
    assert_eq!(problem.location.as_ref().unwrap().line, Some(2));
    problem
}

fn with_search(pattern: &str) -> TestModel {
    let model = TestModel::new();
    model.change_tokenizer(|json| {
        let own = json["pre_tokenizer"].take();
        let split =
            json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [split, own]});
    });
    model
}

/// Work that grows with the cube of the letters of a word of `a`, in one search that nothing can stop.
fn cubic() -> TestModel {
    with_search(r"(?m)^(?:(?=(?:(?=a*x)a)*x)a)*z")
}

#[test]
fn a_search_that_goes_back_too_often_costs_its_record() {
    let word = "a".repeat(64);
    for pattern in [r"(?:(a+)+)(?=b)", r"(?:(a)|a)*(?=b)"] {
        let dataset = load(&with_search(pattern), &["one", &word, "two"], QUICK).unwrap();
        let problem = left_out(&dataset);
        assert_eq!(problem.code, "data.tokenizer_gave_up");
        assert!(
            problem.message.contains("a search with its regular expression fails"),
            "{}",
            problem.message
        );
    }
}

/// What other engines cannot do in any time.
#[test]
fn searches_without_look_around_are_linear() {
    let word = "a".repeat(1 << 20);
    for pattern in [r"(a+)+$", r"(a|a)*b", r"(a|aa)+$", r"(.*)*b"] {
        let start = Instant::now();
        assert_eq!(load(&with_search(pattern), &["one", "two"], QUICK).unwrap().counts.kept, 2);
        let tokens = with_search(pattern).tokenizer().encode(&word[..1 << 14]).unwrap();
        assert_eq!(tokens.len(), 1 << 14);
        assert!(start.elapsed().as_secs() < 10, "{pattern}: {:?}", start.elapsed());
    }
}

#[test]
fn a_record_that_takes_too_long_is_left_out_and_the_next_is_read() {
    let word = "a".repeat(1500) + "x";
    let dataset = load(&cubic(), &["one", &word, "two"], QUICK).unwrap();
    let problem = left_out(&dataset);
    assert_eq!(problem.code, "data.too_slow");
    assert!(problem.hint.as_ref().unwrap().contains("leave the record out"));
}

#[test]
fn records_that_take_too_long_one_after_another_end_the_reading() {
    let word = "a".repeat(2500) + "x";
    let error = load(&cubic(), &["one", &word, &word, "two", &word, &word], QUICK).unwrap_err();
    let problem = error.problem();
    assert_eq!(problem.code, "data.too_slow");
    assert!(problem.message.contains("the last on line 5"), "{}", problem.message);
}

#[test]
fn words_that_are_looked_up_letter_by_letter_end_in_time() {
    let (long, words) = ("a".repeat(1 << 18), ("a".repeat(999) + " ").repeat(1 << 6));
    let pieces = (1..=1024).step_by(64).map(|length| json!(["a".repeat(length), -1.0]));
    let pieces: Vec<_> = [json!(["<unk>", -9.0])].into_iter().chain(pieces).collect();
    let (vocab, merges) = doubled(18);
    for (text, model, splitter) in [
        // Merges of a single word, pair by pair.
        (&long, json!({"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": null}), Value::Null),
        // As many pieces begin at each place as may.
        (
            &long,
            json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": pieces}),
            Value::Null,
        ),
        // The longest words, of which every beginning is looked up at every place.
        (
            &words,
            json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 1_000, "vocab": {"[UNK]": 0, "a": 1, "##a": 2}}),
            json!({"type": "WhitespaceSplit"}),
        ),
    ] {
        let folder = TestModel::new();
        folder.change_tokenizer(|json| (json["model"], json["pre_tokenizer"]) = (model.clone(), splitter));
        let start = Instant::now();
        folder.tokenizer().encode(text).unwrap();
        assert!(start.elapsed().as_secs() < 20, "{}: {:?}", model["type"], start.elapsed());
    }
}

/// A vocabulary of `a` doubled that often, with its merges.
fn doubled(times: u32) -> (Value, Value) {
    let words: Vec<_> = (0..=times).map(|times| "a".repeat(1 << times)).collect();
    let vocab = words.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect();
    (Value::Object(vocab), words[..words.len() - 1].iter().map(|word| json!([word, word])).collect())
}

/// Text that grows until there is about half a GiB of it.
const GROWING: [&str; 3] = [
    "{% for i in range(22) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% for i in range(7) %}{% set ns.x = ns.x | replace('b', 'bbbbbbbb') %}{% endfor %}",
    "{% for i in range(22) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
];

#[cfg(target_os = "linux")]
#[test]
#[allow(clippy::disallowed_methods, reason = "a process of its own, whose memory nothing else takes")]
fn a_template_that_fills_the_memory_is_refused_with_the_record_that_makes_it() {
    let tests = std::env::current_exe().unwrap();
    let arguments = ["--exact", "attacks::fills_the_memory", "--ignored"];
    let output = std::process::Command::new(tests).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
#[ignore = "executed by the test above"]
fn fills_the_memory() {
    let limits = Limits { time: Duration::from_secs(30), memory: 64 << 20 };
    for growing in GROWING {
        let bomb = format!("{{% set ns = namespace(x='{}') %}}{growing}", "b".repeat(128));
        let source = format!("{{% if messages[0].content == 'bomb' %}}{bomb}{{% endif %}}{CHAT_TEMPLATE}");
        let model = TestModel::with_chat_template(&source);
        assert_eq!(load(&model, &["one"], limits).unwrap().counts.kept, 1);
        let problem = load(&model, &["one", "bomb", "two"], limits).unwrap_err().problem();
        assert_eq!(problem.code, "data.too_much_memory", "{growing}");
        assert!(problem.message.starts_with("the record on line 2 of "), "{}", problem.message);
        // What was left behind gives its memory back.
        std::thread::sleep(Duration::from_secs(2));
        // The sample that a template is tried on is a record too.
        let refused = load(&TestModel::with_chat_template(&(bomb + CHAT_TEMPLATE)), &["one"], limits);
        let problem = refused.unwrap_err().problem();
        assert_eq!(problem.code, "template.broken", "{growing}");
        assert!(problem.location.unwrap().file.is_some());
        std::thread::sleep(Duration::from_secs(2));
    }
}

#[test]
fn a_tokenizer_that_makes_its_engine_fail_is_refused() {
    // An index of characters that points far behind itself.
    let map = [&4_u32.to_le_bytes()[..], &[0xff; 4], b"x\0"].concat();
    let map = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, map);
    let model = TestModel::new();
    model.change_tokenizer(|json| {
        json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": map});
    });
    let code =
        load(&model, &["one"], QUICK).map(|dataset| dataset.counts).map_err(|error| error.problem().code);
    assert_eq!(code.unwrap_err(), "tokenizer.failed");
}
