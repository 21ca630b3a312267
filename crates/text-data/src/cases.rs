//! Inputs as they come: each is accepted for what it means, or refused with its cause.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use greentune_core_config::{
    Diagnostic, Problem,
    settings::{DatasetSchema, Settings},
    task::{DatasetInspection, InspectTask},
};
use serde_json::{Value, json};

use super::{
    inspect,
    test_model::{CHAT_TEMPLATE, TestModel},
};

/// A template that writes tools, calls and what tools answer.
const TOOLS_TEMPLATE: &str = "{%- if tools %}{{ '<tools>' + (tools | tojson) + '\n' }}{%- endif %}\
    {%- for m in messages -%}{{- '<|' + m.role + '|>\n' + m.content -}}\
    {%- if m['tool_calls'] is defined -%}{%- for c in m['tool_calls'] -%}\
    {{- '<call>' + c['function']['name'] + ' ' + c['function']['arguments'] + '</call>' -}}{%- endfor -%}{%- endif -%}\
    {%- if m.role == 'assistant' -%}{{- eos_token -}}{%- endif -%}{{- '\n' -}}{%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%}";

fn inspected(
    model: &TestModel,
    name: &str,
    bytes: &[u8],
    settings: Settings,
) -> Result<DatasetInspection, Problem> {
    let dataset = model.path().join(name);
    std::fs::write(&dataset, bytes).unwrap();
    let base_model_path = model.path().to_owned();
    inspect(&InspectTask { settings, base_model_path, dataset, show: 9 }).map_err(|error| error.problem())
}

fn read(name: &str, bytes: &[u8]) -> Result<DatasetInspection, Problem> {
    inspected(&TestModel::with_chat_template(CHAT_TEMPLATE), name, bytes, Settings::default())
}

fn lines(records: &[Value]) -> Vec<u8> {
    records
        .iter()
        .flat_map(|record| [record.to_string(), String::from("\n")])
        .collect::<String>()
        .into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The records' texts, what is learnt in brackets.
fn marked(inspection: &DatasetInspection) -> Vec<String> {
    let mark = |text: &str, labelled: bool| if labelled { format!("[{text}]") } else { text.to_owned() };
    let records = inspection.records.iter();
    records
        .map(|record| record.pieces.iter().map(|piece| mark(&piece.text, piece.labelled)).collect())
        .collect()
}

/// What is learnt, of all records.
fn learnt(inspection: &DatasetInspection) -> Vec<&str> {
    let pieces = inspection.records.iter().flat_map(|record| &record.pieces);
    pieces.filter(|piece| piece.labelled).map(|piece| piece.text.as_str()).collect()
}

fn alpaca(n: usize) -> Value {
    json!({"instruction": format!("Name colour {n}."), "input": "", "output": format!("colour {n}")})
}

#[test]
fn a_list_of_records_in_every_wrapping_is_read_as_its_lines() {
    let records = [alpaca(0), alpaca(1), alpaca(2)];
    let expected = marked(&read("data.jsonl", &lines(&records)).unwrap());
    let list = json!(records);
    for (name, bytes) in [
        ("pretty.json", format!("{list:#}\n").into_bytes()),
        ("line.json", list.to_string().into_bytes()),
        ("data.json", json!({"data": records}).to_string().into_bytes()),
        ("pretty-data.json", format!("{:#}", json!({"version": "1", "train": records})).into_bytes()),
        ("records.jsonl", records.iter().flat_map(|record| [format!("{record:#}"), String::from("\n")]).collect::<String>().into_bytes()),
        ("data.jsonl.gz", gzip(&lines(&records))),
        ("list.json.gz", gzip(list.to_string().as_bytes())),
        ("packed.jsonl", gzip(&lines(&records))),
        ("table.csv.gz", gzip(b"instruction,input,output\nName colour 0.,,colour 0\nName colour 1.,,colour 1\nName colour 2.,,colour 2\n")),
        ("utf16.jsonl", String::from_utf8(lines(&records)).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ] {
        let inspection = read(name, &bytes).unwrap();
        assert_eq!(marked(&inspection), expected, "{name}");
    }
    let bad = read("data.jsonl.zst", b"\x28\xb5\x2f\xfd....").unwrap_err();
    assert_eq!(bad.code, "data.no_text");
    assert!(bad.hint.unwrap().contains("zstd -d"));
}

#[test]
fn odd_lines_are_kept_or_named() {
    let text = "\u{feff}{\"instruction\":\"one\",\"output\":\"bom\"}\r\n\
        {\"instruction\":\"two\",\"output\":\"line\u{2028}separator and\u{85}nel\"}\r\n\
        {\"instruction\":\"three\",\"output\":\"pair \\ud83d\\ude00\"}\n\
        {\"instruction\":\"four\",\"output\":\"lone \\ud83d half\"}\n\
        {\"instruction\":\"five\",\"output\":\"quality is NaN\",\"quality\":NaN,\"score\":-Infinity}\n\
        {\"instruction\":\"six\",\"output\":\"twice\",\"output\":\"the second wins\"}\n\n\
        {\"instruction\":\"seven\",\"output\":\"nul \\u0000 inside\"}\n";
    let inspection = read("odd.jsonl", text.as_bytes()).unwrap();
    assert_eq!((inspection.counts.read, inspection.counts.kept, inspection.high_quality_records), (7, 6, 0));
    let problem = &inspection.counts.problems[0];
    assert!(problem.message.contains(r"`\ud83d`, half of a surrogate pair"), "{}", problem.message);
    assert_eq!(problem.location.as_ref().unwrap().line, Some(4));
    assert!(learnt(&inspection).iter().any(|text| text.contains("the second wins")));
    let latin = read("latin.jsonl", b"{\"instruction\":\"a\",\"output\":\"caf\xe9\"}\n").unwrap_err();
    assert!(latin.problems[0].message.ends_with("as Windows-1252 it says `café`"), "{latin:?}");
    let latin = read("latin.csv", b"instruction,output\na,caf\xe9\n").unwrap_err();
    assert!(latin.problems[0].message.contains("`café`"), "{latin:?}");
}

#[test]
fn contents_in_parts_are_their_text_and_pictures_are_refused_by_name() {
    let user = |content: Value| {
        json!({"messages": [{"role": "user", "content": content}, {"role": "assistant",
        "content": [{"type": "text", "text": "Yes."}]}]})
    };
    let text = |text: &str| json!({"type": "text", "text": text});
    let image = json!({"type": "image_url", "image_url": {"url": "x.png"}});
    let records = [
        user(json!([text("Two "), text("parts?")])),
        user(json!("One part?")),
        user(json!([image, text("What?")])),
    ];
    let inspection = read("parts.jsonl", &lines(&records)).unwrap();
    let expected = "<|user|>\nTwo parts?<|end|>\n<|assistant|>\n[Yes.<|end|>]";
    assert_eq!(marked(&inspection)[0], expected);
    assert_eq!((inspection.counts.kept, inspection.counts.unsupported_part), (2, 1));
    let message = &inspection.counts.problems[0].message;
    assert_eq!(message, "`content` of turn 1 has a part of the type `image_url`; only text can be learnt");
}

#[test]
fn calls_of_tools_are_learnt_where_the_template_writes_them_and_refused_elsewhere() {
    let call = json!([{"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": "{\"zone\": \"UTC\"}"}}]);
    let records = [
        json!({"messages": [{"role": "user", "content": "What time is it?"},
            {"role": "assistant", "content": null, "tool_calls": call},
            {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
            {"role": "assistant", "content": "It is noon."}]}),
        json!({"messages": [{"role": "user", "content": "Ring."}, {"role": "assistant", "content": "", "tool_calls": call}],
            "tools": [{"type": "function", "function": {"name": "get_time"}}]}),
        json!({"messages": [{"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hello!", "tool_calls": null, "name": null}]}),
        json!({"conversations": [{"from": "human", "value": "Ring."},
            {"from": "function_call", "value": "{\"name\": \"ring\", \"arguments\": \"{}\"}"},
            {"from": "observation", "value": "rung"}, {"from": "gpt", "value": "Done."}]}),
    ];
    let model = TestModel::with_chat_template(TOOLS_TEMPLATE);
    let inspection = inspected(&model, "tools.jsonl", &lines(&records), Settings::default()).unwrap();
    let texts = marked(&inspection);
    assert!(
        texts[0].contains("[<call>get_time {\"zone\": \"UTC\"}</call><|end|>]\n<|tool|>\n12:00\n"),
        "{}",
        texts[0]
    );
    assert!(texts[1].starts_with("<tools>[") && texts[1].ends_with("UTC\"}</call><|end|>]"), "{}", texts[1]);
    assert!(texts[2].ends_with("[Hello!<|end|>]"), "{}", texts[2]);
    assert!(texts[3].contains("[<call>ring {}</call><|end|>]\n<|tool|>\nrung\n"), "{}", texts[3]);

    // Neither a template without calls nor a form without roles may learn an answer that lacks its call.
    for model in [TestModel::with_chat_template(CHAT_TEMPLATE), TestModel::new()] {
        let inspection = inspected(&model, "tools.jsonl", &lines(&records), Settings::default()).unwrap();
        assert_eq!((inspection.counts.kept, inspection.counts.template_failed), (1, 3));
        assert!(
            inspection.counts.problems[0].message.contains("tool"),
            "{:?}",
            inspection.counts.problems[0]
        );
    }
}

#[test]
fn messages_that_are_marked_are_read_and_not_learnt() {
    let talk = |mark: &str, value: Value| {
        let mut bad = json!({"role": "assistant", "content": "BAD five"});
        bad[mark] = value;
        json!({"messages": [{"role": "user", "content": "2+2?"}, bad, {"role": "user", "content": "Again."},
            {"role": "assistant", "content": "four", "weight": 1}]})
    };
    let marks = [
        ("weight", json!(0)),
        ("weight", json!(0.0)),
        ("weight", json!("0")),
        ("train", json!(false)),
        ("training", json!(false)),
        ("train_on_turn", json!(false)),
        ("loss", json!(false)),
        ("masked", json!(true)),
    ];
    for model in [TestModel::with_chat_template(CHAT_TEMPLATE), TestModel::new()] {
        for (mark, value) in &marks {
            let records = lines(&[talk(mark, value.clone())]);
            let inspection = inspected(&model, "weights.jsonl", &records, Settings::default()).unwrap();
            assert_eq!(learnt(&inspection), ["four<|end|>"], "{mark}");
            assert!(marked(&inspection)[0].contains("BAD five<|end|>"), "{mark}");
        }
        let all =
            lines(&[talk("weight", json!(1)), talk("weight", json!(null)), talk("masked", json!(false))]);
        let inspection = inspected(&model, "weights.jsonl", &all, Settings::default()).unwrap();
        assert_eq!(learnt(&inspection).len(), 6);
    }
    let records = [
        json!({"messages": [{"role": "user", "content": "4+4?"}, {"role": "assistant", "content": "BAD", "weight": 0}]}),
        talk("weight", json!(0.5)),
        talk("train_detail", json!([{"begin_offset": 0, "end_offset": 2, "train": false}])),
        json!({"conversations": [{"from": "human", "value": "5+5?"}, {"from": "gpt", "value": "BAD", "weight": 0},
            {"from": "human", "value": "No."}, {"from": "gpt", "value": "ten"}]}),
    ];
    let inspection = read("weights.jsonl", &lines(&records)).unwrap();
    assert_eq!(learnt(&inspection), ["ten<|end|>"]);
    assert_eq!(inspection.counts.nothing_to_learn, 1);
    let codes: Vec<_> = inspection.counts.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["data.nothing_to_learn", "data.message_weight", "data.message_weight"]);
}

#[test]
fn a_last_answer_that_is_not_learnt_is_left_out_with_its_request() {
    let talk = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "BAD", "train": false}]});
    let inspection = read("data.jsonl", &lines(&[talk])).unwrap();
    assert_eq!(marked(&inspection), ["<|user|>\na<|end|>\n<|assistant|>\n[b<|end|>]"]);
}

#[test]
fn conversations_in_other_forms_are_conversations() {
    let struct_of_lists = [
        json!({"conversations": {"from": ["human", "gpt"], "value": ["One?", "1"]}}),
        json!({"conversations": {"from": ["human", "gpt", "human", "gpt"], "value": ["Two?", "2", "Three?", "3"]}}),
    ];
    let inspection = read("structs.jsonl", &lines(&struct_of_lists)).unwrap();
    assert_eq!((inspection.schema, learnt(&inspection).len()), (DatasetSchema::Sharegpt, 3));

    let user = |text: &str| json!({"role": "user", "content": text});
    let assistant = |text: &str| json!({"role": "assistant", "content": text});
    let trl = [
        json!({"prompt": [user("Sky?")], "completion": [assistant("Blue.")]}),
        json!({"prompt": [user("a"), assistant("b"), user("c")], "completion": [assistant("d")]}),
        json!({"prompt": json!([user("e")]).to_string(), "completion": json!([assistant("f")]).to_string()}),
    ];
    let inspection = read("trl.jsonl", &lines(&trl)).unwrap();
    assert_eq!((inspection.schema, inspection.counts.kept), (DatasetSchema::Messages, 3));
    // The prompt's own answers belong to the prompt.
    assert_eq!(learnt(&inspection), ["Blue.<|end|>", "d<|end|>", "f<|end|>"]);
    let list_per_line = [json!([user("a"), assistant("b")]), json!([user("c"), assistant("d")])];
    assert_eq!(learnt(&read("lists.jsonl", &lines(&list_per_line)).unwrap()), ["b<|end|>", "d<|end|>"]);
}

#[test]
fn system_and_history_reach_the_prompt_and_are_not_learnt() {
    let records = [
        json!({"instruction": "And in winter?", "input": "In short.", "output": "Cold.", "system": "SYSTEM one word.",
            "history": [["HISTORY How is summer?", "Warm."]]}),
        json!({"instruction": "And at night?", "input": "", "output": "Dark.", "system": "SYSTEM one word.", "history": []}),
        json!({"instruction": "And now?", "output": "Now.", "system": null, "history": "[[\"HISTORY\", \"x\"]]"}),
    ];
    let inspection = read("data.jsonl", &lines(&records)).unwrap();
    let expected = "<|system|>\nSYSTEM one word.<|end|>\n<|user|>\nHISTORY How is summer?<|end|>\n<|assistant|>\nWarm.\
                    <|end|>\n<|user|>\nAnd in winter?\n\nIn short.<|end|>\n<|assistant|>\n[Cold.<|end|>]";
    assert_eq!(marked(&inspection)[0], expected);
    assert_eq!(learnt(&inspection).len(), 3);

    let plain = inspected(&TestModel::new(), "data.jsonl", &lines(&records), Settings::default()).unwrap();
    let expected = "### Instruction:\nSYSTEM one word.\n\nHISTORY How is summer?\n\n### Response:\nWarm.<|end|>\n\n\
                    ### Instruction:\nAnd in winter?\n\n### Input:\nIn short.\n\n### Response:\n[Cold.<|end|>]";
    assert_eq!(marked(&plain)[0], expected);
    assert!(marked(&plain)[1].contains("SYSTEM one word.\n\nAnd at night?"), "{}", marked(&plain)[1]);
    let wrong = json!({"instruction": "a", "output": "b", "history": [["only a request"]]});
    assert_eq!(read("data.jsonl", &lines(&[wrong])).unwrap_err().problems[0].code, "data.field_type");
}

#[test]
fn a_prompt_template_without_fields_is_refused_with_the_style_found() {
    let records = lines(&[alpaca(0), alpaca(1)]);
    let with = |template: &str| {
        let mut settings = Settings::default();
        settings.dataset.prompt_template = Some(template.to_owned());
        inspected(&TestModel::new(), "data.jsonl", &records, settings)
    };
    for (template, named) in [
        ("### Q: {instruction} {input}\n### A:", "`{instruction}`"),
        ("{INPUT}\n>>> {OUTPUT}", "`{INPUT}`"),
        ("### Q: {}\n### A: {}", "`{}`"),
        ("### Q: $instruction\n### A:", "`$instruction`"),
        ("Answer:", "no expression"),
        ("{% if instruction %}Answer:{% endif %}", "no expression"),
        ("{{ instruction }} {input}", "`{input}`"),
    ] {
        let problem = with(template).unwrap_err();
        assert_eq!(problem.code, "template.without_fields", "{template}");
        assert!(problem.message.contains(named), "{}", problem.message);
        assert_eq!(problem.location.unwrap().key.as_deref(), Some("dataset.prompt_template"));
        assert!(problem.hint.unwrap().contains("{{ instruction }}"));
    }
    for template in
        ["{{ instruction }}", "### Q: {{ instruction }} {{ input }}\n### A:", "{{ input or instruction }}"]
    {
        assert_eq!(with(template).unwrap().counts.kept, 2, "{template}");
    }
}

#[test]
fn python_in_cells_is_named() {
    let turns = "[{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}]";
    for (header, cells) in
        [("id,messages", format!("1,\"{turns}\"")), ("prompt,completion", format!("\"{turns}\",\"{turns}\""))]
    {
        let problem = read("data.csv", format!("{header}\n{cells}\n").as_bytes()).unwrap_err();
        assert_eq!(problem.problems[0].code, "data.python_repr", "{header}");
        assert!(problem.problems[0].hint.as_ref().unwrap().contains("json.dumps"));
    }
    let json = turns.replace('\'', "\"\"");
    assert_eq!(read("data.csv", format!("id,messages\n1,\"{json}\"\n").as_bytes()).unwrap().counts.kept, 1);
}

#[test]
fn columns_of_other_names_are_offered() {
    let offered =
        |problem: &Problem| problem.suggestions.first().map(|offer| offer.arguments["columns"].clone());
    let table = read("data.csv", b"Question,Answer\na,b\n").unwrap_err();
    assert_eq!(
        (table.code.as_str(), offered(&table)),
        ("data.columns", Some(json!("instruction=Question,output=Answer")))
    );
    let rows = lines(&[json!({"query": "a", "response": "b"})]);
    let rows = read("data.jsonl", &rows).unwrap_err();
    assert_eq!(offered(&rows.problems[0]), Some(json!("instruction=query,output=response")));
    assert_eq!(offered(&read("data.csv", b"name,age\na,b\n").unwrap_err()), None);
}

#[test]
fn control_tokens_in_texts_are_counted() {
    let records = [
        json!({"instruction": "a <|assistant|> b", "output": "c"}),
        json!({"instruction": "d", "output": "e <|end|> f"}),
        json!({"instruction": "g <|end|>", "output": "h"}),
    ];
    let inspection = read("data.jsonl", &lines(&records)).unwrap();
    let found: Vec<_> = inspection
        .control_tokens
        .iter()
        .map(|found| (found.token.as_str(), found.records, found.first_line))
        .collect();
    assert_eq!(found, [("<|end|>", 2, 2), ("<|assistant|>", 1, 1)]);
    assert!(read("data.jsonl", &lines(&[alpaca(1)])).unwrap().control_tokens.is_empty());
}

#[test]
fn faults_of_one_kind_are_one_line() {
    let mut settings = Settings::default();
    settings.training.max_seq_length = 64;
    let long = |n: usize| json!({"instruction": "long ".repeat(40 + n), "output": "x"});
    let records: Vec<_> = (0..30).map(long).collect();
    let model = TestModel::with_chat_template(CHAT_TEMPLATE);
    let problem = inspected(&model, "long.jsonl", &lines(&records), settings).unwrap_err();
    assert_eq!((problem.code.as_str(), problem.problems.len()), ("data.empty", 1));
    let message = &problem.problems[0].message;
    assert!(
        message.starts_with("30 records: the prompt has") && message.ends_with("2, 3, 4, 5, …)"),
        "{message}"
    );
}

#[test]
fn tables_of_structs_are_conversations() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data");
    let read = |name: &str| read(name, &std::fs::read(fixtures.join(name)).unwrap()).unwrap();
    let talks = read("struct-of-lists.parquet");
    assert_eq!((talks.schema, talks.counts.kept), (DatasetSchema::Sharegpt, 2));
    assert_eq!(learnt(&talks), ["turn 1 of 2<|end|>", "turn 1 of 4<|end|>", "turn 3 of 4<|end|>"]);
    let trl = read("trl.parquet");
    assert_eq!((trl.schema, learnt(&trl)), (DatasetSchema::Messages, vec!["Blue.<|end|>", "Green.<|end|>"]));
    assert!(marked(&trl)[1].starts_with("<|system|>\nBe brief."), "{}", marked(&trl)[1]);
}
