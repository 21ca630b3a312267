//! The form of a prompt: the user's template, the model's chat template, or instruction/response.

use greentune_core_config::Location;
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value, context, syntax::SyntaxConfig, value::Kwargs,
};

use super::{error::DataError, tokenizer::Tokenizer};

const TEMPLATE: &str = "prompt";

/// How instruction, input and response become the text that the model sees.
pub struct PromptTemplate {
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

/// The text of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What comes before the response.
    pub prompt: String,
    /// The response and, with a chat template, what ends its turn.
    pub labelled: String,
    /// Whether `labelled` ends with a token that ends a generation. If not, the end of sequence belongs behind it.
    pub ends_turn: bool,
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
    pub fn new(
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
        } else if let Some(chat) = tokenizer.chat_template() {
            template.location = Location { file: Some(chat.file.clone()), ..Location::default() };
            template.form =
                Form::Chat(chat_environment(&chat.source, at).map_err(|error| template.error(&error))?);
        }
        template.render("instruction", "input", "response")?;
        Ok(template)
    }

    /// Where the form comes from: `settings`, `chat template of the model` or `instruction/response`.
    pub fn source(&self) -> &'static str {
        match self.form {
            Form::Settings(_) => "settings",
            Form::Chat(_) => "chat template of the model",
            Form::InstructionResponse => "instruction/response",
        }
    }

    /// Whether the text itself spells out what begins a sequence, as chat templates do; if not, that is left to
    /// the tokenizer's own post-processing.
    pub fn spells_out_beginning(&self) -> bool {
        matches!(self.form, Form::Chat(_))
    }

    /// The text of a record; `input` is empty when it has none.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn render(&self, instruction: &str, input: &str, response: &str) -> Result<Rendered, DataError> {
        let (prompt, labelled) = match &self.form {
            Form::Settings(environment) => {
                let prompt = self.apply(environment, context! { instruction, input })?;
                (prompt, response.to_owned())
            }
            Form::Chat(environment) => {
                self.render_chat(environment, &user_message(instruction, input), response)?
            }
            Form::InstructionResponse => (instruction_response(instruction, input), response.to_owned()),
        };
        let trimmed = labelled.trim_end();
        let ends_turn = self.stop_tokens.iter().any(|stop| trimmed.ends_with(stop.as_str()));
        // What a template writes behind the token that ends the turn is never generated.
        let labelled = if ends_turn { trimmed.to_owned() } else { labelled };
        Ok(Rendered { prompt, labelled, ends_turn })
    }

    fn render_chat(
        &self,
        environment: &Environment<'_>,
        user: &str,
        response: &str,
    ) -> Result<(String, String), DataError> {
        let conversation = |messages: Vec<Value>, add_generation_prompt: bool| {
            let context = context! {
                messages,
                add_generation_prompt,
                bos_token => self.bos_token.clone().unwrap_or_default(),
                eos_token => self.eos_token.clone(),
            };
            self.apply(environment, context)
        };
        let user = context! { role => "user", content => user };
        let assistant = context! { role => "assistant", content => response };
        let prompt = conversation(vec![user.clone()], true)?;
        let whole = conversation(vec![user, assistant], false)?;
        match whole.strip_prefix(&prompt) {
            Some(labelled) => Ok((prompt, labelled.to_owned())),
            None => Err(DataError::TemplateNotPrefix { location: Box::new(self.location.clone()) }),
        }
    }

    fn apply(&self, environment: &Environment<'_>, context: Value) -> Result<String, DataError> {
        environment
            .get_template(TEMPLATE)
            .and_then(|template| template.render(context))
            .map_err(|error| self.error(&error))
    }

    fn error(&self, error: &Error) -> DataError {
        DataError::Template { reason: error.to_string(), location: Box::new(self.location.clone()) }
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

    fn chat(source: &str) -> Result<PromptTemplate, DataError> {
        template(&TestModel::with_chat_template(source), None)
    }

    #[test]
    fn instruction_response_form() {
        let template = template(&TestModel::new(), None).unwrap();
        assert_eq!(template.source(), "instruction/response");
        let rendered = template.render("Add.", "1 2", "3").unwrap();
        assert_eq!(rendered.prompt, "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n");
        assert_eq!((rendered.labelled.as_str(), rendered.ends_turn), ("3", false));
        assert_eq!(template.render("Hi", "", "x").unwrap().prompt, "### Instruction:\nHi\n\n### Response:\n");
        // A response that brings its own end of sequence does not get a second.
        assert!(template.render("Hi", "", "x<|end|>\n").unwrap().ends_turn);
    }

    #[test]
    fn settings_come_first_and_are_kept_as_written() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        let template =
            template(&model, Some("Q: {{ instruction }}{% if input %} ({{ input }}){% endif %}\nA:\n"));
        let template = template.unwrap();
        assert_eq!(template.source(), "settings");
        assert_eq!(template.render("a<b", "c", "d").unwrap().prompt, "Q: a<b (c)\nA:\n");
        assert_eq!(template.render("a", "", "d").unwrap().prompt, "Q: a\nA:\n");
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
        let rendered = template.render("Add.", "1 2", " 3 ").unwrap();
        assert_eq!(rendered.prompt, "<|user|>\nAdd.\n\n1 2<|end|>\n<|assistant|>\n");
        assert_eq!((rendered.labelled.as_str(), rendered.ends_turn), ("3<|end|>", true));
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
        let rendered = template(&model, None).unwrap().render("Hi", "", "Hello").unwrap();
        assert_eq!(rendered.prompt, "<|begin|><|user|>\nHi\n<|assistant|>\n");
        assert_eq!((rendered.labelled.as_str(), rendered.ends_turn), ("Hello<|end|>", true));
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
        let rendered = chat(source).unwrap().render("Hi ", "", " Hello").unwrap();
        assert_eq!(rendered.prompt, "<|user|>\n\nHi<|end|><|assistant|>\n\n");
        assert_eq!(rendered.labelled, "Hello<|end|>");
    }

    #[test]
    fn functions_tags_and_filters_of_transformers() {
        let source = "{{ bos_token }}{{ strftime_now('%d %b %Y') }}{% for m in messages %}{% if m.role == 'user' %}\
                      [{{ m.content | tojson }}]{% else %}{%- generation -%}{{ m.content }}{{ eos_token }}\
                      {%- endgeneration -%}{% endif %}{% endfor %}";
        let rendered = chat(source).unwrap().render("a<\"é", "", "r").unwrap();
        assert_eq!(rendered.prompt, "22 Nov 2026[\"a<\\\"é\"]");
        assert_eq!(rendered.labelled, "r<|end|>");
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
        let rendered = template.render("a", "", "b").unwrap();
        assert_eq!((rendered.labelled.as_str(), rendered.ends_turn), ("b\n", false));
    }
}
