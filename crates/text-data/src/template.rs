//! The form of a prompt: the user's template, the model's chat template, or instruction/response.

mod builtins;
mod chat;
#[cfg(test)]
mod constructs;
mod conversation;
mod json;
mod placeholders;
mod python;
#[cfg(test)]
mod tests;

use std::{error::Error as _, ops::Range};

use greentune_core_config::Location;
use jiff::Timestamp;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context, syntax::SyntaxConfig};
use serde_json::json;

use self::{
    chat::{Chat, Raised},
    conversation::{Ends, Refusal, Written},
};
use super::{
    control_tokens::ControlTokens,
    error::DataError,
    schema::{Body, Conversation, Role, Turn},
    tokenizer::Tokenizer,
};

const TEMPLATE: &str = "prompt";

/// How instruction, input and response become the text that the model sees.
pub(crate) struct PromptTemplate {
    form: Form,
    location: Location,
    ends: Ends,
    eos_token: String,
    control_tokens: ControlTokens,
}

enum Form {
    Settings(Environment<'static>),
    Chat(Chat),
    InstructionResponse,
}

/// The text of a record, and what of it is labelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rendered {
    /// The text, without the ends of sequence that answers need.
    pub(super) text: String,
    /// What is labelled, in ascending order and apart; at least one.
    pub(super) answers: Vec<Answer>,
    /// Whether the text itself spells out what begins a sequence, as chat templates do; if not, that is left to the
    /// tokenizer's own post-processing.
    pub(super) spells_out_beginning: bool,
    /// Whether control tokens of contents are marked in the text, as [`ControlTokens::mark`] does.
    pub(super) is_marked: bool,
    /// Control tokens that contents spell out.
    pub(super) control_tokens: u64,
    /// Answers to learn that the text does not have as they are generated.
    pub(super) unlearnt_answers: u64,
}

/// What the assistant says, and with it what ends its turn where a template writes that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Where it stands in the text.
    pub(super) range: Range<usize>,
    /// What is said, as the record has it.
    pub(super) said: String,
    /// Whether the end of sequence belongs behind it, because nothing in it ends a generation.
    pub(super) needs_end: bool,
}

impl PromptTemplate {
    /// The user's `prompt_template` over `instruction` and `input` when there is one, else the model's chat template,
    /// else `### Instruction:`, `### Input:` (if there is any) and `### Response:`.
    ///
    /// Chat templates get what transformers gives them (`messages`, `tools`, `documents`, `add_generation_prompt`, every
    /// special token by name, `raise_exception`, `strftime_now`, Python's methods). `at` is the moment that
    /// `strftime_now` formats, in UTC: a run passes its own creation, so that it sees the same prompts when it is
    /// resumed.
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
            ends: Ends {
                stop_tokens: tokenizer.stop_tokens().to_vec(),
                special_tokens: tokenizer.special_token_texts(),
            },
            eos_token: tokenizer.eos_token().to_owned(),
            control_tokens: tokenizer.control_tokens().clone(),
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
            if let Some((name, line)) = chat::macro_arguments(&chat.source) {
                let reason = format!(
                    "in line {line} a macro reads `{name}`, its further arguments, which are not available: name each \
                     parameter of the macro"
                );
                return Err(template.refusal(reason, Some(line)));
            }
            let chat = Chat::new(&chat.source, tokenizer.named_special_tokens(), at);
            template.form = Form::Chat(chat.map_err(|error| template.error(&error))?);
        }
        let sample = Body::Instruction {
            before: Vec::new(),
            instruction: "instruction".into(),
            input: "input".into(),
            response: "response".into(),
        };
        template.render(&sample, |text| Ok(text.len()))?;
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

    /// Whether it is the model's chat template.
    pub(super) fn is_chat(&self) -> bool {
        matches!(self.form, Form::Chat(_))
    }

    /// What the model's chat template writes for one request, the header of the assistant's turn included; nothing where
    /// prompts have another form. Control tokens that `request` spells out become control tokens.
    ///
    /// # Errors
    /// [`DataError::Template`] for a template that refuses it.
    pub(super) fn chat_prompt(&self, request: &str) -> Result<Option<String>, DataError> {
        let Form::Chat(chat) = &self.form else { return Ok(None) };
        let message = chat::template_value(&json!({ "role": "user", "content": request }));
        let rendered = chat.render(&[message], &minijinja::Value::from(()), true);
        Ok(Some(rendered.map_err(|error| self.error(&error))?.0))
    }

    /// The text of a record. `kept` says up to which position of a text the context keeps it; answers behind it need
    /// not be found.
    ///
    /// A conversation without a chat template is one request after another, each in the form of a single one: what
    /// system and user say before the assistant's turn is the instruction.
    ///
    /// # Errors
    /// As [`new`](Self::new), and those of `kept`.
    pub(super) fn render(
        &self,
        body: &Body,
        kept: impl FnOnce(&str) -> Result<usize, DataError>,
    ) -> Result<Rendered, DataError> {
        match (body, &self.form) {
            (Body::Completion { prompt, completion }, _) => {
                let mut draft = Draft::of(&self.ends);
                draft.push(prompt);
                draft.answer(completion, completion);
                // Text that is learnt as it stands may have been written by a chat template before.
                draft.rendered.control_tokens = self.count(&[prompt, completion]);
                Ok(draft.rendered)
            }
            (Body::Instruction { before, instruction, input, response }, Form::Chat(chat)) => {
                let mut turns = before.clone();
                turns.push(Turn::new(Role::User, user_message(instruction, input)));
                turns.push(Turn::new(Role::Assistant, response.as_str()));
                self.conversation(chat, &Conversation::new(turns), kept)
            }
            (Body::Conversation(conversation), Form::Chat(chat)) => {
                self.conversation(chat, conversation, kept)
            }
            (Body::Instruction { before, instruction, input, response }, _) => {
                let (mut draft, said) = self.requests(before)?;
                self.request(&mut draft, said, &self.marked(instruction), &self.marked(input))?;
                draft.answer(response, &self.marked_answer(response));
                draft.rendered.control_tokens += self.count(&[instruction, input, response]);
                Ok(draft.finished())
            }
            (Body::Conversation(conversation), _) => Ok(self.requests(&conversation.turns)?.0.finished()),
        }
    }

    /// The prompt for one request, where there is no chat template.
    fn prompt(&self, instruction: &str, input: &str) -> Result<String, DataError> {
        match &self.form {
            Form::Settings(environment) => environment
                .get_template(TEMPLATE)
                .and_then(|template| template.render(context! { instruction, input }))
                .map_err(|error| self.error(&error)),
            _ => Ok(instruction_response(instruction, input)),
        }
    }

    /// Turns as one request after another, and what was said since the last answer.
    fn requests(&self, turns: &[Turn]) -> Result<(Draft<'_>, Vec<String>), DataError> {
        let (mut draft, mut said) = (Draft::of(&self.ends), Vec::new());
        for turn in turns {
            if turn.role == Role::Tool || !turn.tool_calls().is_empty() {
                let reason = "the record calls a tool, for which this form of prompts has no place; use a model whose \
                              chat template writes tool calls, or leave the record out";
                return Err(self.refusal(reason.to_owned(), None));
            }
            if turn.role != Role::Assistant {
                said.push(self.marked(&turn.content));
                continue;
            }
            self.request(&mut draft, std::mem::take(&mut said), "", "")?;
            let answer = self.marked_answer(&turn.content);
            if turn.is_learnt {
                draft.answer(&turn.content, &answer);
            } else {
                draft.push(&answer);
                if self.ends.split(&answer).is_none() {
                    draft.push(&self.eos_token);
                }
            }
        }
        draft.rendered.control_tokens =
            turns.iter().map(|turn| self.control_tokens.count(&turn.content)).sum();
        Ok((draft, said))
    }

    /// Adds a request to a draft: what was `said` since the last answer, and the instruction.
    fn request(
        &self,
        draft: &mut Draft<'_>,
        mut said: Vec<String>,
        instruction: &str,
        input: &str,
    ) -> Result<(), DataError> {
        if !instruction.is_empty() {
            said.push(instruction.to_owned());
        }
        if !draft.rendered.text.is_empty() {
            draft.push("\n\n");
        }
        draft.push(&self.prompt(&said.join("\n\n"), input)?);
        Ok(())
    }

    /// A conversation in the chat template's form.
    fn conversation(
        &self,
        chat: &Chat,
        Conversation { turns, tools }: &Conversation,
        kept: impl FnOnce(&str) -> Result<usize, DataError>,
    ) -> Result<Rendered, DataError> {
        let count = |turn: &Turn| {
            let extras = turn.extras.values().map(|value| self.control_tokens.count_value(value));
            self.control_tokens.count(&turn.content) + extras.sum::<u64>()
        };
        let found = turns.iter().map(count).sum::<u64>() + self.control_tokens.count_value(tools);
        let written = if found == 0 {
            conversation::write(chat, turns, tools, &self.ends, kept)?
        } else {
            let marked: Vec<_> = turns.iter().map(|turn| self.marked_turn(turn)).collect();
            conversation::write(chat, &marked, &self.control_tokens.mark_value(tools), &self.ends, kept)?
        };
        let Written { text, mut answers, unlearnt } = written.map_err(|refusal| self.refused(refusal))?;
        if found > 0 {
            for answer in &mut answers {
                answer.said = super::control_tokens::unmarked(&answer.said);
            }
        }
        Ok(Rendered {
            text,
            answers,
            spells_out_beginning: true,
            is_marked: found > 0,
            control_tokens: found,
            unlearnt_answers: unlearnt,
        })
    }

    /// The turn as a template may write it among control tokens of its own.
    fn marked_turn(&self, turn: &Turn) -> Turn {
        let is_answer = turn.role == Role::Assistant;
        // An end that the record itself writes is the one that the template writes too.
        let content = match self.ends.split(&turn.content) {
            Some((body, _)) if is_answer => body,
            _ => &turn.content,
        };
        let extras = turn.extras.iter();
        Turn {
            content: self.marked(content),
            extras: extras.map(|(key, value)| (key.clone(), self.control_tokens.mark_value(value))).collect(),
            ..turn.clone()
        }
    }

    fn marked(&self, content: &str) -> String {
        self.control_tokens.mark(content)
    }

    /// A response behind a prompt without a chat template, of which an end that it has itself stays one.
    fn marked_answer(&self, response: &str) -> String {
        match self.ends.split(response) {
            Some((body, _)) => self.marked(body) + &response[body.len()..],
            None => self.marked(response),
        }
    }

    fn count(&self, contents: &[&str]) -> u64 {
        contents.iter().map(|content| self.control_tokens.count(content)).sum()
    }

    fn refused(&self, refusal: Refusal) -> DataError {
        match refusal {
            Refusal::Template(error) => self.error(&error),
            Refusal::LeftOut(reason) => self.refusal(reason, None),
            Refusal::NoAnswer => DataError::TemplateNotPrefix { location: Box::new(self.location.clone()) },
        }
    }

    fn error(&self, error: &Error) -> DataError {
        if error.kind() == ErrorKind::OutOfFuel {
            let reason = "it takes too many steps, as loops within loops do, or a conversation of which the context \
                          keeps some thousand turns";
            return self.refusal(reason.to_owned(), error.line());
        }
        if error.kind() == ErrorKind::WriteFailure {
            return self.refusal("it writes more than a record can hold".to_owned(), error.line());
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
        while let Some(inner) = cause {
            if let Some(raised) = inner.downcast_ref::<Raised>() {
                let place = error.line().map(|line| format!("in line {line} ")).unwrap_or_default();
                return self.refusal(format!("{place}it says: {raised}"), error.line());
            }
            cause = inner.source();
        }
        self.refusal(error.to_string(), error.line())
    }

    fn refusal(&self, reason: String, line: Option<usize>) -> DataError {
        let line = line.map(|line| line as u64);
        DataError::Template { reason, location: Box::new(Location { line, ..self.location.clone() }) }
    }
}

/// A text in the making.
struct Draft<'a> {
    rendered: Rendered,
    ends: &'a Ends,
}

impl<'a> Draft<'a> {
    fn of(ends: &'a Ends) -> Self {
        Self { rendered: Rendered::default(), ends }
    }

    fn push(&mut self, text: &str) {
        self.rendered.text.push_str(text);
    }

    fn finished(mut self) -> Rendered {
        self.rendered.is_marked = self.rendered.control_tokens > 0;
        self.rendered
    }

    /// An answer that the record has as `said` and that is written as `text`, up to what ends it.
    fn answer(&mut self, said: &str, text: &str) {
        let end = self.ends.split(text).map(|(body, stop)| body.len() + stop.len());
        let start = self.rendered.text.len();
        self.push(&text[..end.unwrap_or(text.len())]);
        let range = start..self.rendered.text.len();
        self.rendered.answers.push(Answer { range, said: said.to_owned(), needs_end: end.is_none() });
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

fn environment(syntax: SyntaxConfig) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    minijinja_contrib::add_to_environment(&mut environment);
    environment.set_fuel(Some(chat::MOST_STEPS));
    builtins::add_to(&mut environment);
    environment.set_unknown_method_callback(python::method);
    environment.add_test("sequence", python::is_sequence);
    environment.add_test("iterable", python::is_iterable);
    environment.add_filter("length", python::length);
    environment.add_filter("count", python::length);
    environment.add_filter("int", python::int);
    environment.add_filter("float", python::float);
    environment.add_filter("replace", python::replace);
    environment.add_filter("dictsort", python::dict_sort);
    environment.add_filter("wordcount", python::word_count);
    environment.add_filter("center", python::center);
    environment
}
