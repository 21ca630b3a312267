//! Prompt forms: what is written, what is learnt, what is refused.

use greentune_core_config::Diagnostic;

use super::{
    super::test_model::{CHAT_TEMPLATE, TestModel},
    *,
};

fn template(model: &TestModel, prompt_template: Option<&str>) -> Result<PromptTemplate, DataError> {
    let at = "2026-11-22T04:00:00Z".parse().unwrap();
    PromptTemplate::new(prompt_template, &model.tokenizer(), at)
}

fn written(template: &PromptTemplate, body: &Body) -> Result<Rendered, DataError> {
    template.render(body, |text| Ok(text.len()))
}

/// A single request: the prompt, what is labelled, and whether that ends the turn itself.
fn render(
    template: &PromptTemplate,
    instruction: &str,
    input: &str,
    response: &str,
) -> (String, String, bool) {
    let (instruction, input, response) = (instruction.into(), input.into(), response.into());
    let rendered =
        written(template, &Body::Instruction { before: Vec::new(), instruction, input, response }).unwrap();
    let [Answer { range, needs_end, .. }] = &rendered.answers[..] else { panic!("one response") };
    (rendered.text[..range.start].to_owned(), rendered.text[range.clone()].to_owned(), !needs_end)
}

/// Turns by the first letter of their role: `s`, `u`, `a`.
fn turns(turns: &[(&str, &str)]) -> Body {
    let role = |letter: &str| match letter {
        "s" => Role::System,
        "u" => Role::User,
        _ => Role::Assistant,
    };
    let turn = |(letter, content): &(&str, &str)| Turn::new(role(letter), *content);
    Body::Conversation(Conversation::new(turns.iter().map(turn).collect()))
}

/// The text with what is labelled in brackets, and `$` where the end of sequence is to be put. What a template
/// writes behind the last answer is left out.
fn marked(rendered: &Rendered) -> String {
    let (mut text, mut end) = (String::new(), 0);
    for Answer { range, needs_end, .. } in &rendered.answers {
        let end_of_sequence = if *needs_end { "$" } else { "" };
        text += &rendered.text[end..range.start];
        text.extend(["[", &rendered.text[range.clone()], end_of_sequence, "]"]);
        end = range.end;
    }
    text
}

fn chat(source: &str) -> Result<PromptTemplate, DataError> {
    template(&TestModel::with_chat_template(source), None)
}

#[test]
fn instruction_response_form() {
    let template = template(&TestModel::new(), None).unwrap();
    assert_eq!(template.source(), "instruction/response");
    let (prompt, labelled, ends_turn) = render(&template, "Add.", "1 2", "3");
    assert_eq!(prompt, "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n");
    assert_eq!((labelled.as_str(), ends_turn), ("3", false));
    assert_eq!(render(&template, "Hi", "", "x").0, "### Instruction:\nHi\n\n### Response:\n");
    // A response that brings its own end of sequence does not get a second.
    assert!(render(&template, "Hi", "", "x<|end|>\n").2);
}

#[test]
fn settings_come_first_and_are_kept_as_written() {
    let model = TestModel::with_chat_template(CHAT_TEMPLATE);
    let template =
        template(&model, Some("Q: {{ instruction }}{% if input %} ({{ input }}){% endif %}\nA:\n"));
    let template = template.unwrap();
    assert_eq!(template.source(), "settings");
    assert_eq!(render(&template, "a<b", "c", "d").0, "Q: a<b (c)\nA:\n");
    assert_eq!(render(&template, "a", "", "d").0, "Q: a\nA:\n");
}

#[test]
fn broken_and_misspelt_settings_name_the_key() {
    for source in ["{{ instruction", "{{ instrucion }}", "{% for %}"] {
        let problem = template(&TestModel::new(), Some(source)).err().unwrap().problem();
        assert_eq!(problem.code, "template.broken");
        assert_eq!(problem.location.unwrap().key.as_deref(), Some("dataset.prompt_template"));
    }
}

#[test]
fn chat_template_marks_the_response_and_its_end() {
    let template = chat(CHAT_TEMPLATE).unwrap();
    assert_eq!(template.source(), "chat template of the model");
    let (prompt, labelled, ends_turn) = render(&template, "Add.", "1 2", " 3 ");
    assert_eq!(prompt, "<|user|>\nAdd.\n\n1 2<|end|>\n<|assistant|>\n");
    assert_eq!((labelled.as_str(), ends_turn), ("3<|end|>", true));
}

#[test]
fn chat_template_of_olmo_2() {
    let source = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' \
                  + message['content'] + '\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\n' + \
                  message['content'] + '\n' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ \
                  '<|assistant|>\n' + message['content'] + eos_token + '\n' }}{% else %}{{ '<|assistant|>\n' + \
                  message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and \
                  add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}";
    let model = TestModel::with_chat_template(source);
    let names = serde_json::json!({"eos_token": "<|end|>", "bos_token": {"content": "<|begin|>"}});
    model.write("tokenizer_config.json", &names);
    let (prompt, labelled, ends_turn) = render(&template(&model, None).unwrap(), "Hi", "", "Hello");
    assert_eq!(prompt, "<|begin|><|user|>\nHi\n<|assistant|>\n");
    assert_eq!((labelled.as_str(), ends_turn), ("Hello<|end|>", true));
}

#[test]
fn chat_template_in_the_manner_of_llama_3() {
    let source = "{%- set ns = namespace(system='') %}\n{%- if messages[0].role == 'system' %}\n    \
                  {%- set messages = messages[1:] %}\n{%- endif %}\n{{- bos_token }}\n\
                  {%- for message in messages %}\n    {%- if not (message.role == 'ipython' or 'tool_calls' in \
                  message) %}\n        {{- '<|' + message['role'] + '|>\n\n' + message['content'] | trim + \
                  '<|end|>' }}\n    {%- elif tools is not none %}\n        {{- tools | tojson(indent=4) }}\n    \
                  {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    \
                  {{- '<|assistant|>\n\n' }}\n{%- endif %}\n";
    let (prompt, labelled, ends_turn) = render(&chat(source).unwrap(), "Hi ", "", " Hello");
    assert_eq!(prompt, "<|user|>\n\nHi<|end|><|assistant|>\n\n");
    assert_eq!((labelled.as_str(), ends_turn), ("Hello<|end|>", true));
}

#[test]
fn functions_tags_and_filters_of_transformers() {
    let source = "{{ bos_token }}{{ strftime_now('%d %b %Y') }}{% for m in messages %}{% if m.role == 'user' %}\
                  [{{ m.content | tojson }}]{% else %}{%- generation -%}{{ m.content }}{{ eos_token }}\
                  {%- endgeneration -%}{% endif %}{% endfor %}";
    let (prompt, labelled, ends_turn) = render(&chat(source).unwrap(), "a<\"é", "", "r");
    assert_eq!(prompt, "22 Nov 2026[\"a<\\\"é\"]");
    assert_eq!((labelled.as_str(), ends_turn), ("r<|end|>", true));
}

#[test]
fn an_exception_raised_by_the_template_is_told() {
    let error = chat("{{ raise_exception('only tools') }}").err().unwrap();
    assert!(error.to_string().contains("only tools"), "{error}");
    assert!(error.problem().location.unwrap().file.unwrap().ends_with("chat_template.jinja"));
}

#[test]
fn a_prompt_that_is_no_prefix_is_refused() {
    let source =
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<think>{% endif %}";
    assert!(matches!(chat(source), Err(DataError::TemplateNotPrefix { .. })));
}

#[test]
fn a_template_without_end_of_turn_leaves_it_to_the_end_of_sequence() {
    let template = chat("{% for m in messages %}{{ m.content }}\n{% endfor %}").unwrap();
    let (_, labelled, ends_turn) = render(&template, "a", "", "b");
    assert_eq!((labelled.as_str(), ends_turn), ("b\n", false));
}

#[test]
fn every_assistant_turn_of_a_chat_is_labelled_with_its_end() {
    let template = chat(CHAT_TEMPLATE).unwrap();
    let said = [("s", "Be kind."), ("u", "Hi"), ("a", " Hello"), ("u", "Bye"), ("a", "See you")];
    let rendered = written(&template, &turns(&said)).unwrap();
    assert_eq!(
        marked(&rendered),
        "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n[Hello<|end|>]\n<|user|>\nBye<|end|>\n\
         <|assistant|>\n[See you<|end|>]"
    );
    assert!(rendered.spells_out_beginning);
    assert_eq!(rendered.answers[0].said, " Hello");
}

#[test]
fn assistant_turns_in_a_row_are_labelled_each() {
    let source = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}\
                  {% if add_generation_prompt %}<a>{% endif %}";
    let rendered = written(&chat(source).unwrap(), &turns(&[("u", "x"), ("a", "y"), ("a", "z")])).unwrap();
    // Nothing of this template ends a turn; only the conversation's end is the end of the sequence.
    assert_eq!(marked(&rendered), "<u>x<a>[y]<a>[z$]");
}

#[test]
fn without_a_chat_template_a_conversation_is_one_request_after_another() {
    let body = turns(&[("s", "Be kind."), ("u", "Hi"), ("a", "Hello"), ("u", "Bye"), ("a", "See you")]);
    let rendered = written(&template(&TestModel::new(), None).unwrap(), &body).unwrap();
    assert_eq!(
        marked(&rendered),
        "### Instruction:\nBe kind.\n\nHi\n\n### Response:\n[Hello$]\n\n### Instruction:\nBye\n\n### Response:\n\
         [See you$]"
    );
    assert!(!rendered.spells_out_beginning);
    let settings = template(&TestModel::with_chat_template(CHAT_TEMPLATE), Some("Q: {{ instruction }}\nA: "));
    let body = turns(&[("u", "Hi"), ("a", "Hello")]);
    assert_eq!(marked(&written(&settings.unwrap(), &body).unwrap()), "Q: Hi\nA: [Hello$]");
}

#[test]
fn plain_text_has_no_template_even_where_the_model_has_one() {
    let template = chat(CHAT_TEMPLATE).unwrap();
    let completion = Body::Completion { prompt: "1 + 1 =".into(), completion: " 2".into() };
    let rendered = written(&template, &completion).unwrap();
    assert_eq!((marked(&rendered).as_str(), rendered.spells_out_beginning), ("1 + 1 =[ 2$]", false));
}

#[test]
fn of_a_template_that_rewrites_earlier_turns_the_last_answer_is_learnt() {
    // As templates do that keep the last turn's reasoning only.
    let source = "{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' and loop.last %}!{% endif %}\
                  {{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";
    let template = chat(source).unwrap();
    let rendered = written(&template, &turns(&[("u", "x"), ("a", "y"), ("u", "z"), ("a", "w")])).unwrap();
    assert_eq!((marked(&rendered).as_str(), rendered.unlearnt_answers), ("<u>x<a>y<u>z<a>[!w$]", 1));
}

#[test]
fn where_but_the_end_of_the_last_turn_differs_every_answer_is_learnt_with_the_end_it_has() {
    // OLMo-3's turns end with one token, and its last turn with the end of sequence.
    let source = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% if loop.last and m.role == \
                  'assistant' %}{{ eos_token }}{% else %}<|pad|>\n{% endif %}{% endfor %}\
                  {% if add_generation_prompt %}<a>{% endif %}";
    let body = turns(&[("u", "x"), ("a", "y"), ("u", "z"), ("a", "w")]);
    let rendered = written(&chat(source).unwrap(), &body).unwrap();
    assert_eq!(marked(&rendered), "<u>x<|pad|>\n<a>[y<|pad|>]\n<u>z<|pad|>\n<a>[w<|end|>]");
    assert_eq!(rendered.unlearnt_answers, 0);
}

#[test]
fn a_conversation_that_begins_with_the_assistant_has_its_later_answers_learnt() {
    // The template cannot write a conversation without turns, so that nothing says where the first answer begins.
    let source = "<{{ messages[0].role }}>{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}\
                  {% if add_generation_prompt %}<a>{% endif %}";
    let template = chat(source).unwrap();
    let rendered = written(&template, &turns(&[("a", "x"), ("u", "y"), ("a", "z")])).unwrap();
    assert_eq!((marked(&rendered).as_str(), rendered.unlearnt_answers), ("<assistant><a>x<u>y<a>[z$]", 1));
    assert!(written(&template, &turns(&[("a", "x")])).is_err());
    let rendered = written(&chat(CHAT_TEMPLATE).unwrap(), &turns(&[("a", "x"), ("u", "y"), ("a", "z")]));
    assert_eq!(
        marked(&rendered.unwrap()),
        "<|assistant|>\n[x<|end|>]\n<|user|>\ny<|end|>\n<|assistant|>\n[z<|end|>]"
    );
}

#[test]
fn what_a_template_raises_is_told_with_its_line() {
    let source = "{% for m in messages %}\n{% if m.role == 'system' %}\n{{ raise_exception('No system, please.') }}\n\
                  {% endif %}\n{{ m.content }}{% endfor %}";
    let error = written(&chat(source).unwrap(), &turns(&[("s", "x"), ("u", "y"), ("a", "z")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the prompt template cannot be used: in line 3 it says: No system, please."
    );
    assert_eq!(error.problem().location.unwrap().line, Some(3));
}

#[test]
fn a_record_without_a_chat_template_has_no_place_for_calls_of_tools() {
    let mut call = Turn::new(Role::Assistant, "");
    call.extras
        .insert("tool_calls".into(), serde_json::json!([{"function": {"name": "f", "arguments": "{}"}}]));
    let body = Body::Conversation(Conversation::new(vec![Turn::new(Role::User, "x"), call]));
    let error = written(&template(&TestModel::new(), None).unwrap(), &body).unwrap_err();
    assert!(error.to_string().contains("calls a tool"), "{error}");
}

#[test]
fn control_tokens_of_contents_are_marked_and_counted_and_an_end_comes_once() {
    let mark = |text: &str| format!("\u{f0000}{text}\u{f0001}");
    let rendered =
        written(&chat(CHAT_TEMPLATE).unwrap(), &turns(&[("u", "a<|end|>b"), ("a", "c<|pad|>d<|end|>")]));
    let rendered = rendered.unwrap();
    assert_eq!((rendered.control_tokens, rendered.is_marked), (3, true));
    assert_eq!(
        marked(&rendered),
        format!("<|user|>\na{}b<|end|>\n<|assistant|>\n[c{}d<|end|>]", mark("<|end|>"), mark("<|pad|>"))
    );
    assert_eq!(rendered.answers[0].said, "c<|pad|>d");
    let instruction = Body::Instruction {
        before: Vec::new(),
        instruction: "x<|user|>".into(),
        input: String::new(),
        response: "y<|pad|>z<|end|>\n".into(),
    };
    let rendered = written(&template(&TestModel::new(), None).unwrap(), &instruction).unwrap();
    let labelled = format!("[y{}z<|end|>]", mark("<|pad|>"));
    assert!(marked(&rendered).ends_with(&labelled), "{}", marked(&rendered));
    assert_eq!(rendered.control_tokens, 3);
    // Plain text keeps them: it may have been written by a chat template before.
    let body = Body::Completion { prompt: String::new(), completion: "<|user|>a<|end|>".into() };
    let rendered = written(&template(&TestModel::new(), None).unwrap(), &body).unwrap();
    assert_eq!((rendered.is_marked, rendered.control_tokens), (false, 2));
}

/// `04-openai-tools`: OpenAI's messages with arguments as JSON in a text.
fn call(arguments: &serde_json::Value) -> Turn {
    let mut call = Turn::new(Role::Assistant, "");
    let function = serde_json::json!({"name": "get_time", "arguments": arguments});
    call.extras.insert("tool_calls".into(), serde_json::json!([{"id": "c1", "function": function}]));
    call
}

fn talk_with_call(arguments: &serde_json::Value) -> Body {
    let tool = Turn::new(Role::Tool, "12:00");
    let (question, answer) = (Turn::new(Role::User, "Time?"), Turn::new(Role::Assistant, "Noon."));
    Body::Conversation(Conversation::new(vec![question, call(arguments), tool, answer]))
}

#[test]
fn calls_of_tools_are_written_in_the_form_that_the_template_wants_and_learnt() {
    let template = |arguments: &str| {
        "{% for m in messages %}<{{ m.role }}>{% if m.content %}{{ m.content }}{% endif %}{% for c in m.tool_calls %}\
         <call>{{ c.function.name + ' ' }}ARGUMENTS</call>{% endfor %}{{ eos_token }}{% endfor %}\
         {% if add_generation_prompt %}<assistant>{% endif %}"
            .replace("ARGUMENTS", arguments)
    };
    let text = serde_json::json!("{\"zone\": \"UTC\"}");
    let object = serde_json::json!({"zone": "UTC"});
    for arguments in [
        "{{ '' + c.function.arguments }}",
        "{{ c.function.arguments }}",
        "{{ c.function.arguments | tojson }}",
        "{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}",
        "{ {%- for k, v in c.function.arguments.items() %}\"{{ k }}\": {{ v | tojson }}{% endfor -%} }",
    ] {
        for given in [&text, &object] {
            let rendered = written(&chat(&template(arguments)).unwrap(), &talk_with_call(given)).unwrap();
            let text = marked(&rendered).replace("{ \"", "{\"").replace("\" }", "\"}");
            assert_eq!(
                text,
                "<user>Time?<|end|><assistant>[<call>get_time {\"zone\": \"UTC\"}</call><|end|>]<tool>12:00<|end|>\
                 <assistant>[Noon.<|end|>]",
                "{arguments} {given}"
            );
        }
    }
}

#[test]
fn a_template_that_leaves_out_a_call_or_its_answer_is_refused_for_the_record() {
    let without_calls = chat(CHAT_TEMPLATE).unwrap();
    let error = written(&without_calls, &talk_with_call(&serde_json::json!({}))).unwrap_err().to_string();
    assert!(error.contains("does not write the call of the tool `get_time` in turn 2"), "{error}");
    let source = "{% for m in messages %}{% if m.role != 'tool' %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls %}\
                  {{ c.function.name }}{% endfor %}{{ eos_token }}{% endif %}{% endfor %}\
                  {% if add_generation_prompt %}<assistant>{% endif %}";
    let error =
        written(&chat(source).unwrap(), &talk_with_call(&serde_json::json!({}))).unwrap_err().to_string();
    assert!(error.contains("does not write what the tool answers in turn 3"), "{error}");
}

#[test]
fn tools_and_special_tokens_have_the_names_and_values_of_transformers() {
    // `11a-length` and `11b-none`.
    for condition in ["tools is none or (tools | length) == 0", "tools is none", "not tools"] {
        let source = format!(
            "{{%- if {condition} -%}}none{{{{ pad_token }}}}{{%- else -%}}{{{{ tools | tojson }}}}{{%- endif -%}}\
             {{%- for m in messages -%}}<{{{{ m.content }}}}{{{{ eos_token }}}}{{%- endfor -%}}\
             {{%- if add_generation_prompt -%}}<{{%- endif -%}}"
        );
        let model = TestModel::with_chat_template(&source);
        // `16a-pad-unknown`.
        model.write(
            "tokenizer_config.json",
            &serde_json::json!({"eos_token": "<|end|>", "pad_token": "[PAD]"}),
        );
        let template = template(&model, None).unwrap();
        let mut conversation =
            Conversation::new(vec![Turn::new(Role::User, "u"), Turn::new(Role::Assistant, "a")]);
        let rendered = written(&template, &Body::Conversation(conversation.clone())).unwrap();
        assert_eq!(marked(&rendered), "none[PAD]<u<|end|><[a<|end|>]");
        conversation.tools = serde_json::json!([{"name": "f", "args": {"b": 1, "a": "<é>"}}]);
        let rendered = written(&template, &Body::Conversation(conversation)).unwrap();
        assert!(rendered.text.starts_with("[{\"name\": \"f\", \"args\": {\"b\": 1, \"a\": \"<é>\"}}]<u"));
    }
}

#[test]
fn loops_that_run_for_ever_are_refused_when_the_template_is_read_or_for_the_record_that_starts_them() {
    let forever = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
    let error = chat(forever).err().unwrap().to_string();
    assert!(error.contains("takes too many steps"), "{error}");
    let error = template(&TestModel::new(), Some(&format!("{{{{ instruction }}}}{forever}"))).err().unwrap();
    assert!(error.to_string().contains("takes too many steps"), "{error}");
    let source = format!(
        "{{% for m in messages %}}<{{{{ m.content }}}}{{% if m.content == 'bomb' %}}{forever}{{% endif %}}{{% endfor %}}\
         {{% if add_generation_prompt %}}<{{% endif %}}"
    );
    let template = chat(&source).unwrap();
    assert!(written(&template, &turns(&[("u", "x"), ("a", "y")])).is_ok());
    let error = written(&template, &turns(&[("u", "bomb"), ("a", "y")])).unwrap_err();
    assert_eq!(error.problem().code, "template.broken");
}

#[test]
fn a_template_writes_no_more_than_a_record_can_hold() {
    let source =
        "{% for m in messages %}{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}{% endfor %}";
    let error = chat(source).err().unwrap().to_string();
    assert!(error.contains("writes more than a record can hold"), "{error}");
}

#[test]
fn a_conversation_of_more_turns_than_can_be_told_apart_is_refused_for_its_work() {
    let template = chat(CHAT_TEMPLATE).unwrap();
    let said: Vec<_> = (0..10_000).map(|turn| [("u", "x"), ("a", "y")][turn % 2]).collect();
    let error = written(&template, &turns(&said)).unwrap_err().to_string();
    assert!(error.contains("some thousand turns"), "{error}");
    assert_eq!(written(&template, &turns(&said[..2000])).unwrap().answers.len(), 1000);
}

#[test]
fn what_the_engine_lacks_of_jinja_is_refused_by_name_and_line() {
    for (construct, named) in [
        ("{{ '%s' % 'a' }}", "operator on unsupported"),
        ("{{ +1 }}", "unexpected"),
        ("{% macro f() %}{{ varargs }}{% endmacro %}{{ f() }}", "`varargs`"),
        ("{% macro f() %}{% if kwargs %}x{% endif %}{% endmacro %}{{ f() }}", "`kwargs`"),
        ("{{ 'a' | wordwrap(3) }}", "wordwrap"),
        ("{{ 'a' | urlize }}", "urlize"),
        ("{{ {'a': 1} | xmlattr }}", "xmlattr"),
        ("{{ [1] | random }}", "random"),
        ("{{ [1] | pprint }}", "pprint"),
        ("{{ lipsum() }}", "lipsum"),
        ("{{ [1, 2] | batch(linecount=2) }}", "cannot convert"),
        ("{{ {'a': 1} | attr('items') }}", "attr('items')"),
        ("{{ '%r' | format('a') }}", "conversion type"),
    ] {
        let source = format!("{{% for m in messages %}}{{{{ m.content }}}}\n{construct}{{% endfor %}}");
        let error = chat(&source).err().unwrap_or_else(|| panic!("{construct} is accepted"));
        assert!(error.to_string().contains(named), "{construct}: {error}");
        assert_eq!(error.problem().location.unwrap().line, Some(2), "{construct}: {error}");
    }
    // Outside of macros the names are the template's own.
    let source = "{% for m in messages %}{{ m.content }}{{ kwargs }}{% endfor %}";
    assert!(chat(source).is_ok());
}
