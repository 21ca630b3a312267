//! A conversation in a chat template's form: its text, and where the assistant's answers stand in it.
//!
//! An answer is labelled where the whole text has it as it is generated: behind what the template writes for the turns
//! before it with `add_generation_prompt`, and as the template writes it while it is the last turn. Templates that
//! write the last turn otherwise than earlier ones (Qwen3's, which drop earlier thoughts) thus have their last answer
//! learnt; earlier ones are read. Where but the token behind an answer differs (OLMo-3's), all answers are learnt.

use std::cell::Cell;

use minijinja::{Error, ErrorKind, Value};
use serde_json::{Value as Json, json};

use super::{
    super::schema::{Role, Turn},
    Answer,
    chat::{Chat, template_value},
    json::json_text,
};

/// Conversations with more turns are rendered again only for answers that the context keeps.
const FEW_TURNS: usize = 64;

/// Steps of the template engine that finding all answers of a conversation may take. Since the turns before each answer
/// are rendered, they grow with the square of the turns that the context keeps: of short turns about three thousand
/// take so many.
const MOST_STEPS: u64 = 100_000_000;

/// A conversation as the chat template writes it.
pub(super) struct Written {
    pub(super) text: String,
    /// At least one.
    pub(super) answers: Vec<Answer>,
    /// Answers to learn that the text does not have as they are generated.
    pub(super) unlearnt: u64,
}

/// Why a conversation cannot be used.
pub(super) enum Refusal {
    /// What the template raises or fails with.
    Template(Error),
    /// What the template leaves out.
    LeftOut(String),
    /// No answer is written as it is generated.
    NoAnswer,
}

/// Writes `turns` with `chat`. `kept` says up to which position of the text the context keeps it.
pub(super) fn write<E>(
    chat: &Chat,
    turns: &[Turn],
    tools: &Json,
    ends: &Ends,
    kept: impl FnOnce(&str) -> Result<usize, E>,
) -> Result<Result<Written, Refusal>, E> {
    let (conversation, text) = match Conversation::new(chat, turns, tools) {
        Ok(rendered) => rendered,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let limit = if turns.len() > FEW_TURNS { kept(&text)? } else { text.len() };
    Ok(conversation.answers(turns, text, ends, limit))
}

/// What ends an answer.
pub(super) struct Ends {
    /// Tokens that end a generation.
    pub(super) stop_tokens: Vec<String>,
    /// The tokenizer's other special tokens, which a template may write where it writes no end of sequence.
    pub(super) special_tokens: Vec<String>,
}

impl Ends {
    /// `text` up to the token that ends it, and that token; white space behind it belongs to neither.
    pub(super) fn split<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let trimmed = text.trim_end();
        let stop = self.stop_tokens.iter().find(|stop| trimmed.ends_with(stop.as_str()))?;
        Some(trimmed.split_at(trimmed.len() - stop.len()))
    }

    fn leading(&self, text: &str) -> Option<usize> {
        let tokens = self.stop_tokens.iter().chain(&self.special_tokens);
        tokens.filter(|token| text.starts_with(token.as_str())).map(String::len).max()
    }
}

struct Conversation<'a> {
    chat: &'a Chat,
    messages: Vec<Value>,
    tools: Value,
    /// Steps of the template engine so far.
    steps: Cell<u64>,
}

enum Place {
    /// The length of the answer behind the text before it, and whether something in it ends it.
    Found { start: usize, length: usize, ends: bool },
    /// Behind what is kept. If it is the first, it stands at the end of the text, where nothing of it is kept.
    Beyond,
    /// Written otherwise than it is generated.
    Elsewhere,
}

impl<'a> Conversation<'a> {
    /// The conversation and its text. Arguments of tool calls are given as the record has them, or in the other form,
    /// object or JSON text, where the template needs that.
    fn new(chat: &'a Chat, turns: &[Turn], tools: &Json) -> Result<(Self, String), Refusal> {
        let tools = if tools.as_array().is_some_and(Vec::is_empty) { &Json::Null } else { tools };
        let conversation = |form| Self {
            chat,
            messages: turns.iter().map(|turn| message(turn, form)).collect(),
            tools: template_value(tools),
            steps: Cell::new(0),
        };
        let own = conversation(Arguments::AsGiven);
        let text = own.render(turns.len(), false);
        if turns.iter().all(|turn| turn.tool_calls().is_empty() && turn.role != Role::Tool) {
            return text.map(|text| (own, text)).map_err(Refusal::Template);
        }
        if !text.as_ref().is_ok_and(|text| has_arguments(text, turns)) {
            for form in [Arguments::Objects, Arguments::Texts] {
                let other = conversation(form);
                if let Ok(text) = other.render(turns.len(), false)
                    && has_arguments(&text, turns)
                {
                    check_calls(&text, turns)?;
                    return Ok((other, text));
                }
            }
        }
        let text = text.map_err(Refusal::Template)?;
        check_calls(&text, turns)?;
        Ok((own, text))
    }

    fn render(&self, turns: usize, add_generation_prompt: bool) -> Result<String, Error> {
        if self.steps.get() > MOST_STEPS {
            return Err(ErrorKind::OutOfFuel.into());
        }
        let (text, steps) = self.chat.render(&self.messages[..turns], &self.tools, add_generation_prompt)?;
        self.steps.set(self.steps.get() + steps);
        Ok(text)
    }

    fn answers(&self, turns: &[Turn], text: String, ends: &Ends, limit: usize) -> Result<Written, Refusal> {
        let (mut answers, mut written, mut unlearnt, mut failure) = (Vec::<Answer>::new(), 0, 0, None);
        for (index, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.is_learnt) {
            match self.place(index, &text, written, limit, ends) {
                Ok(Place::Found { start, length, ends }) => {
                    // Within the conversation it is the template's business what ends a turn.
                    let needs_end = !ends && index + 1 == turns.len();
                    let range = start..start + length;
                    let said = if turn.content.trim().is_empty() {
                        text[range.clone()].trim()
                    } else {
                        turn.content.as_str()
                    };
                    written = range.end;
                    answers.push(Answer { said: said.to_owned(), range, needs_end });
                }
                Ok(Place::Beyond) => {
                    if answers.is_empty() {
                        let range = text.len()..text.len();
                        answers.push(Answer { range, said: turn.content.clone(), needs_end: false });
                    }
                    break;
                }
                Ok(Place::Elsewhere) => unlearnt += 1,
                Err(error) if error.kind() == ErrorKind::OutOfFuel => return Err(Refusal::Template(error)),
                Err(error) => {
                    unlearnt += 1;
                    failure = Some(error);
                }
            }
        }
        if answers.is_empty() {
            return Err(failure.map_or(Refusal::NoAnswer, Refusal::Template));
        }
        Ok(Written { text, answers, unlearnt })
    }

    /// Where the turn `index` stands in the whole `text`, of which the answers before it end at `written`.
    fn place(
        &self,
        index: usize,
        text: &str,
        written: usize,
        limit: usize,
        ends: &Ends,
    ) -> Result<Place, Error> {
        let before = self.render(index, true)?;
        // Without turns there may be no header to answer behind.
        let has_header = || index > 0 || !self.render(0, false).is_ok_and(|bare| bare == before);
        let start = before.len();
        if start >= limit {
            return Ok(Place::Beyond);
        }
        if start < written || !text.starts_with(&before) || !has_header() {
            return Ok(Place::Elsewhere);
        }
        let rendered;
        let through = if index + 1 == self.messages.len() {
            text
        } else {
            rendered = self.render(index + 1, false)?;
            rendered.as_str()
        };
        let Some(said) = through.strip_prefix(&*before) else { return Ok(Place::Elsewhere) };
        let found = |length, ends| Ok(Place::Found { start, length, ends });
        let end = ends.split(said);
        if text.starts_with(through) {
            // What a template writes behind the token that ends the turn is never generated.
            return match end {
                Some((body, stop)) => found(body.len() + stop.len(), true),
                None if said.is_empty() => Ok(Place::Elsewhere),
                None => found(said.len(), false),
            };
        }
        match end {
            Some((body, _)) if !body.is_empty() && text[start..].starts_with(body) => {
                let other_end = ends.leading(&text[start + body.len()..]);
                found(body.len() + other_end.unwrap_or(0), other_end.is_some())
            }
            _ => Ok(Place::Elsewhere),
        }
    }
}

/// In which form the arguments of tool calls are given to a template.
#[derive(Clone, Copy)]
enum Arguments {
    AsGiven,
    /// As transformers documents them.
    Objects,
    /// As OpenAI has them: JSON in a text.
    Texts,
}

/// The turn as templates read it.
fn message(turn: &Turn, form: Arguments) -> Value {
    let own = [("role", Value::from(turn.role.as_str())), ("content", Value::from(turn.content.as_str()))];
    let reasoning = ["reasoning_content", "thinking", "reasoning"];
    let thoughts = reasoning.into_iter().find_map(|name| turn.extras.get(name));
    // transformers gives reasoning under all names that templates read.
    let aliases = thoughts.into_iter().flat_map(|thoughts| {
        [("thinking", turn.extras.get("thinking").unwrap_or(thoughts)), ("reasoning_content", thoughts)]
            .map(|(name, thoughts)| (name, template_value(thoughts)))
    });
    let extras = turn.extras.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
        let value = if key == "tool_calls" { &in_form(value, form) } else { value };
        (key.as_str(), template_value(value))
    });
    Value::from_pairs(own.into_iter().chain(extras).chain(aliases))
}

/// Tool calls with their arguments in the form `form`.
fn in_form(calls: &Json, form: Arguments) -> Json {
    let mut calls = calls.clone();
    for call in calls.as_array_mut().into_iter().flatten() {
        let function = if call.get("function").is_some() { &mut call["function"] } else { call };
        let Some(arguments) = function.get_mut("arguments") else { continue };
        match (form, &*arguments) {
            (Arguments::Objects, Json::String(text)) => {
                if let Ok(object @ Json::Object(_)) = serde_json::from_str(text) {
                    *arguments = object;
                }
            }
            (Arguments::Texts, Json::Object(_)) => {
                if let Ok(text) = json_text(&template_value(arguments)) {
                    *arguments = json!(text);
                }
            }
            _ => {}
        }
    }
    calls
}

fn calls(turns: &[Turn]) -> impl Iterator<Item = (usize, &Json)> {
    turns.iter().enumerate().flat_map(|(index, turn)| turn.tool_calls().iter().map(move |call| (index, call)))
}

fn function(call: &Json) -> &Json {
    call.get("function").unwrap_or(call)
}

/// Whether no argument stands in `text` as Python prints it or as JSON within JSON, which no model is meant to write.
fn has_arguments(text: &str, turns: &[Turn]) -> bool {
    calls(turns).all(|(_, call)| match &function(call)["arguments"] {
        Json::String(arguments) => {
            let quoted = Json::from(arguments.as_str()).to_string();
            let inner = quoted.trim_matches('"');
            inner == arguments || !text.contains(inner)
        }
        object @ Json::Object(fields) if !fields.is_empty() => {
            !text.contains(&format!("{:?}", template_value(object)))
        }
        _ => true,
    })
}

/// Refuses a conversation of which the template does not write a call, or what a tool answers: the model would learn
/// to say nothing where it must call a tool, or to know what nobody told it.
fn check_calls(text: &str, turns: &[Turn]) -> Result<(), Refusal> {
    for (index, call) in calls(turns) {
        let name = function(call)["name"].as_str().unwrap_or_default();
        if name.is_empty() || !text.contains(name) {
            let turn = index + 1;
            return Err(Refusal::LeftOut(format!(
                "it does not write the call of the tool `{name}` in turn {turn}"
            )));
        }
    }
    for (index, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::Tool) {
        let said = turn.content.trim();
        let escaped = Json::from(said).to_string();
        if !text.contains(said) && !text.contains(escaped.trim_matches('"')) {
            return Err(Refusal::LeftOut(format!(
                "it does not write what the tool answers in turn {}",
                index + 1
            )));
        }
    }
    Ok(())
}
