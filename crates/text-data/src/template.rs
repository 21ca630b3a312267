//! The form of a prompt: the user's template, the model's chat template, or instruction/response.

mod placeholders;

use greentune_core_config::Location;
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value, context, syntax::SyntaxConfig, value::Kwargs,
};

use super::{
    error::DataError,
    schema::{Body, Conversation, Role, Turn},
    tokenizer::Tokenizer,
};

const TEMPLATE: &str = "prompt";

/// How instruction, input and response become the text that the model sees.
pub(crate) struct PromptTemplate {
    form: Form,
    location: Location,
    stop_tokens: Vec<String>,
    bos_token: Option<String>,
    eos_token: String,
}

enum Form {
    Settings(Environment<'static>),
    Chat(Environment<'static>),
    InstructionResponse,
}

/// The text of a record, in the order in which the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    /// The text in pieces; at least one is labelled.
    pub(super) segments: Vec<Segment>,
    /// Whether the text itself spells out what begins a sequence, as chat templates do; if not, that is left to the
    /// tokenizer's own post-processing.
    pub(super) spells_out_beginning: bool,
}

/// A piece of text that is labelled or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) text: String,
    /// What the assistant says, and with it what ends its turn where a template writes that.
    pub(super) response: Option<Response>,
}

/// What a labelled segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// As the record has it.
    pub(super) text: String,
    /// Whether the end of sequence belongs behind the segment, because nothing in it ends a generation.
    pub(super) needs_end: bool,
}

impl PromptTemplate {
    /// The user's `prompt_template` over `instruction` and `input` when there is one, else the model's chat template,
    /// else `### Instruction:`, `### Input:` (if there is any) and `### Response:`.
    ///
    /// Chat templates get what transformers gives them (`messages`, `add_generation_prompt`, `bos_token`,
    /// `eos_token`, `raise_exception`, `strftime_now`, Python's methods). `at` is the moment that `strftime_now`
    /// formats, in UTC: a run passes its own creation, so that it sees the same prompts when it is resumed.
    ///
    /// # Errors
    /// [`DataError::Template`] for a template that cannot be parsed or fails on a sample;
    /// [`DataError::TemplateNotPrefix`] for a chat template in which the response cannot be told from the prompt.
    pub(crate) fn new(
        prompt_template: Option<&str>,
        tokenizer: &Tokenizer,
        at: Timestamp,
    ) -> Result<Self, DataError> {
        let mut template = Self {
            form: Form::InstructionResponse,
            location: Location { key: Some("dataset.prompt_template".into()), ..Location::default() },
            stop_tokens: tokenizer.stop_tokens().to_vec(),
            bos_token: tokenizer.bos_token().map(str::to_owned),
            eos_token: tokenizer.eos_token().to_owned(),
        };
        if let Some(source) = prompt_template {
            template.form =
                Form::Settings(settings_environment(source).map_err(|error| template.error(&error))?);
            let prompt = |instruction, input| template.prompt(instruction, input);
            let is_the_same = prompt("one instruction", "its input")? == prompt("Another", "And another")?;
            if let Some(reason) = placeholders::fault(source, is_the_same) {
                return Err(DataError::TemplateWithoutFields { reason });
            }
        } else if let Some(chat) = tokenizer.chat_template() {
            template.location = Location { file: Some(chat.file.clone()), ..Location::default() };
            template.form =
                Form::Chat(chat_environment(&chat.source, at).map_err(|error| template.error(&error))?);
        }
        template.render(&Body::Instruction {
            before: Vec::new(),
            instruction: "instruction".into(),
            input: "input".into(),
            response: "response".into(),
        })?;
        Ok(template)
    }

    /// Where the form comes from: `settings`, `chat template of the model` or `instruction/response`.
    pub(crate) fn source(&self) -> &'static str {
        match self.form {
            Form::Settings(_) => "settings",
            Form::Chat(_) => "chat template of the model",
            Form::InstructionResponse => "instruction/response",
        }
    }

    /// The text of a record.
    ///
    /// A conversation without a chat template is one request after another, each in the form of a single one: what
    /// system and user say before the assistant's turn is the instruction.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn render(&self, body: &Body) -> Result<Rendered, DataError> {
        let segments = match (body, &self.form) {
            (Body::Completion { prompt, completion }, _) => {
                vec![Segment::prompt(prompt.clone()), self.response(completion, completion)]
            }
            (Body::Instruction { before, instruction, input, response }, Form::Chat(environment)) => {
                let mut turns = before.clone();
                turns.push(Turn::new(Role::User, user_message(instruction, input)));
                turns.push(Turn::new(Role::Assistant, response.clone()));
                self.chat(environment, &Conversation::new(turns))?
            }
            (Body::Conversation(conversation), Form::Chat(environment)) => {
                self.chat(environment, conversation)?
            }
            (Body::Instruction { before, instruction, input, response }, _) => {
                let (mut segments, said) = self.requests(before)?;
                segments.push(self.request(&segments, said, instruction, input)?);
                segments.push(self.response(response, response));
                segments
            }
            (Body::Conversation(Conversation { turns, .. }), _) => self.requests(turns)?.0,
        };
        let spells_out_beginning =
            matches!(self.form, Form::Chat(_)) && !matches!(body, Body::Completion { .. });
        Ok(Rendered { segments, spells_out_beginning })
    }

    /// The prompt for one request, where there is no chat template.
    fn prompt(&self, instruction: &str, input: &str) -> Result<String, DataError> {
        match &self.form {
            Form::Settings(environment) => self.apply(environment, context! { instruction, input }),
            _ => Ok(instruction_response(instruction, input)),
        }
    }

    /// Turns as one request after another, and what was said since the last answer.
    fn requests<'a>(&self, turns: &'a [Turn]) -> Result<(Vec<Segment>, Vec<&'a str>), DataError> {
        let (mut segments, mut said) = (Vec::new(), Vec::new());
        for turn in turns {
            if turn.role == Role::Tool || !turn.tool_calls().is_empty() {
                let reason = "the record calls a tool, for which this form of prompts has no place; use a model whose \
                              chat template writes tool calls, or leave the record out";
                return Err(self.refusal(reason));
            }
            if turn.role != Role::Assistant {
                said.push(turn.content.as_str());
                continue;
            }
            segments.push(self.request(&segments, std::mem::take(&mut said), "", "")?);
            segments.push(if turn.is_learnt {
                self.response(&turn.content, &turn.content)
            } else {
                Segment::prompt(format!("{}{}", turn.content, self.eos_token))
            });
        }
        Ok((segments, said))
    }

    /// A request behind `earlier` ones: what was `said` since the last answer, and the instruction.
    fn request<'a>(
        &self,
        earlier: &[Segment],
        mut said: Vec<&'a str>,
        instruction: &'a str,
        input: &str,
    ) -> Result<Segment, DataError> {
        if !instruction.is_empty() {
            said.push(instruction);
        }
        let between = if earlier.is_empty() { "" } else { "\n\n" };
        let prompt = self.prompt(&said.join("\n\n"), input)?;
        Ok(Segment::prompt(format!("{between}{prompt}")))
    }

    /// A conversation in the chat template's form. What the assistant's turns are in it is found by rendering what
    /// comes before each, and each with it: both must be a beginning of the whole.
    fn chat(
        &self,
        environment: &Environment<'_>,
        conversation: &Conversation,
    ) -> Result<Vec<Segment>, DataError> {
        let Conversation { turns, tools } = conversation;
        let render = |turns: &[Turn], add_generation_prompt: bool| {
            let context = context! {
                messages => turns.iter().map(message).collect::<Vec<_>>(),
                tools => template_value(tools),
                add_generation_prompt,
                bos_token => self.bos_token.clone().unwrap_or_default(),
                eos_token => self.eos_token.clone(),
            };
            self.apply(environment, context)
        };
        let whole = render(turns, false)?;
        self.check_calls(turns, &whole)?;
        let mut segments = Vec::new();
        let mut rest = whole.as_str();
        for (index, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.is_learnt) {
            let (before, through) = (render(&turns[..index], true)?, render(&turns[..=index], false)?);
            let written = whole.len() - rest.len();
            let is_beginning = whole.starts_with(&through) && through.starts_with(&before);
            if !is_beginning || before.len() < written {
                return Err(DataError::TemplateNotPrefix { location: Box::new(self.location.clone()) });
            }
            let is_last = index + 1 == turns.len();
            let mut response = self.response(&turn.content, &through[before.len()..]);
            // Within the conversation it is the template's business what ends a turn.
            response.response.iter_mut().for_each(|response| response.needs_end &= is_last);
            segments.push(Segment::prompt(whole[written..before.len()].to_owned()));
            rest = &whole[before.len() + response.text.len()..];
            segments.push(response);
        }
        Ok(segments)
    }

    /// Refuses a conversation with a call that the template does not write: the model would learn to say nothing
    /// where it must call a tool.
    fn check_calls(&self, turns: &[Turn], whole: &str) -> Result<(), DataError> {
        let calls = turns
            .iter()
            .enumerate()
            .flat_map(|(index, turn)| turn.tool_calls().iter().map(move |call| (index, call)));
        for (index, call) in calls {
            let name = call["function"]["name"].as_str().or(call["name"].as_str()).unwrap_or_default();
            if name.is_empty() || !whole.contains(name) {
                let reason = format!("it does not write the call of the tool `{name}` in turn {}", index + 1);
                return Err(self.refusal(&reason));
            }
        }
        Ok(())
    }

    /// The labelled segment with the text `labelled`, in which the assistant says `content`.
    fn response(&self, content: &str, labelled: &str) -> Segment {
        let trimmed = labelled.trim_end();
        let ends = self.stop_tokens.iter().any(|stop| trimmed.ends_with(stop.as_str()));
        // What a template writes behind the token that ends the turn is never generated.
        let text = if ends { trimmed } else { labelled };
        let response = Response { text: content.to_owned(), needs_end: !ends };
        Segment { text: text.to_owned(), response: Some(response) }
    }

    fn apply(&self, environment: &Environment<'_>, context: Value) -> Result<String, DataError> {
        environment
            .get_template(TEMPLATE)
            .and_then(|template| template.render(context))
            .map_err(|error| self.error(&error))
    }

    fn error(&self, error: &Error) -> DataError {
        self.refusal(&error.to_string())
    }

    fn refusal(&self, reason: &str) -> DataError {
        DataError::Template { reason: reason.to_owned(), location: Box::new(self.location.clone()) }
    }
}

impl Segment {
    fn prompt(text: String) -> Self {
        Self { text, response: None }
    }
}

/// The turn as templates read it.
fn message(turn: &Turn) -> Value {
    let own = [("role", turn.role.as_str()), ("content", &turn.content)];
    let own = own.map(|(key, text)| (key.to_owned(), Value::from(text)));
    let extras = turn.extras.iter().map(|(key, value)| (key.clone(), template_value(value)));
    Value::from_pairs(own.into_iter().chain(extras))
}

fn template_value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            _ => Value::from(number.as_f64()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(template_value).collect(),
        serde_json::Value::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(key, value)| (key.as_str(), template_value(value))))
        }
    }
}

fn user_message(instruction: &str, input: &str) -> String {
    if input.is_empty() { instruction.to_owned() } else { format!("{instruction}\n\n{input}") }
}

/// The form of Stanford Alpaca's data without its preamble.
fn instruction_response(instruction: &str, input: &str) -> String {
    let input = if input.is_empty() { String::new() } else { format!("### Input:\n{input}\n\n") };
    format!("### Instruction:\n{instruction}\n\n{input}### Response:\n")
}

fn settings_environment(source: &str) -> Result<Environment<'static>, Error> {
    // The response follows directly, so that a newline at the template's end is meant.
    let mut environment = environment(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    // A misspelt variable would else give the same prompt for every record.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template_owned(TEMPLATE, source.to_owned())?;
    Ok(environment)
}

fn chat_environment(source: &str, at: Timestamp) -> Result<Environment<'static>, Error> {
    // transformers' settings of Jinja: blocks leave no whitespace behind.
    let mut environment = environment(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: String| {
        jiff::fmt::strtime::format(&format, &at.to_zoned(TimeZone::UTC))
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    environment.add_template_owned(TEMPLATE, without_generation_tags(source))?;
    Ok(environment)
}

fn environment(syntax: SyntaxConfig) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment
}

/// transformers' `tojson`: unlike Jinja's own it does not escape for HTML. Messages hold nothing but strings.
fn to_json(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => serde_json::to_string(text)
            .map(Value::from)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string())),
        None => minijinja::filters::tojson(value, indent, options),
    }
}

/// transformers' own tags `{% generation %}` and `{% endgeneration %}` mark what the assistant says and print
/// nothing; minijinja does not know them.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag, after)) = next_tag(rest) {
        text.push_str(before);
        match tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => text.push_str(&tag.replace("generation", " if true ")),
            "endgeneration" => text.push_str(&tag.replace("endgeneration", " endif ")),
            _ => text.push_str(tag),
        }
        rest = after;
    }
    text + rest
}

/// Splits at the inside of the next block tag.
fn next_tag(source: &str) -> Option<(&str, &str, &str)> {
    let start = source.find("{%")? + 2;
    let end = start + source[start..].find("%}")?;
    Some((&source[..start], &source[start..end], &source[end..]))
}

#[cfg(test)]
mod tests {
    use greentune_core_config::Diagnostic;

    use super::{
        super::test_model::{CHAT_TEMPLATE, TestModel},
        *,
    };

    fn template(model: &TestModel, prompt_template: Option<&str>) -> Result<PromptTemplate, DataError> {
        let at = "2026-11-22T04:00:00Z".parse().unwrap();
        PromptTemplate::new(prompt_template, &model.tokenizer(), at)
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
            template.render(&Body::Instruction { before: Vec::new(), instruction, input, response }).unwrap();
        let [prompt, labelled] = &rendered.segments[..] else { panic!("a prompt and a response") };
        let response = labelled.response.as_ref().unwrap();
        (prompt.text.clone(), labelled.text.clone(), !response.needs_end)
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

    /// The text with what is labelled in brackets, and `$` where the end of sequence is to be put.
    fn marked(rendered: &Rendered) -> String {
        let mark = |segment: &Segment| match &segment.response {
            None => segment.text.clone(),
            Some(response) => format!("[{}{}]", segment.text, if response.needs_end { "$" } else { "" }),
        };
        rendered.segments.iter().map(mark).collect()
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
        let source = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<think>{% endif %}";
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
        let rendered = template.render(&turns(&[
            ("s", "Be kind."),
            ("u", "Hi"),
            ("a", " Hello"),
            ("u", "Bye"),
            ("a", "See you"),
        ]));
        let rendered = rendered.unwrap();
        assert_eq!(
            marked(&rendered),
            "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n[Hello<|end|>]\n<|user|>\nBye<|end|>\n\
             <|assistant|>\n[See you<|end|>]"
        );
        assert!(rendered.spells_out_beginning);
        assert_eq!(rendered.segments[1].response.as_ref().unwrap().text, " Hello");
    }

    #[test]
    fn assistant_turns_in_a_row_are_labelled_each() {
        let source = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}\
                      {% if add_generation_prompt %}<a>{% endif %}";
        let rendered = chat(source).unwrap().render(&turns(&[("u", "x"), ("a", "y"), ("a", "z")])).unwrap();
        // Nothing of this template ends a turn; only the conversation's end is the end of the sequence.
        assert_eq!(marked(&rendered), "<u>x<a>[y]<a>[z$]");
    }

    #[test]
    fn without_a_chat_template_a_conversation_is_one_request_after_another() {
        let body = turns(&[("s", "Be kind."), ("u", "Hi"), ("a", "Hello"), ("u", "Bye"), ("a", "See you")]);
        let rendered = template(&TestModel::new(), None).unwrap().render(&body).unwrap();
        assert_eq!(
            marked(&rendered),
            "### Instruction:\nBe kind.\n\nHi\n\n### Response:\n[Hello$]\n\n### Instruction:\nBye\n\n### Response:\n\
             [See you$]"
        );
        assert!(!rendered.spells_out_beginning);
        let settings =
            template(&TestModel::with_chat_template(CHAT_TEMPLATE), Some("Q: {{ instruction }}\nA: "));
        let body = turns(&[("u", "Hi"), ("a", "Hello")]);
        assert_eq!(marked(&settings.unwrap().render(&body).unwrap()), "Q: Hi\nA: [Hello$]");
    }

    #[test]
    fn plain_text_has_no_template_even_where_the_model_has_one() {
        let template = chat(CHAT_TEMPLATE).unwrap();
        let completion = Body::Completion { prompt: "1 + 1 =".into(), completion: " 2".into() };
        let rendered = template.render(&completion).unwrap();
        assert_eq!((marked(&rendered).as_str(), rendered.spells_out_beginning), ("1 + 1 =[ 2$]", false));
    }

    #[test]
    fn a_template_that_rewrites_earlier_turns_is_refused_for_the_record_alone() {
        // As templates do that keep the last turn's reasoning only.
        let source = "{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' and loop.last %}!{% endif %}\
                      {{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";
        let template = chat(source).unwrap();
        assert!(template.render(&turns(&[("u", "x"), ("a", "y")])).is_ok());
        let error = template.render(&turns(&[("u", "x"), ("a", "y"), ("u", "z"), ("a", "w")])).err().unwrap();
        assert!(matches!(error, DataError::TemplateNotPrefix { .. }));
    }
}
