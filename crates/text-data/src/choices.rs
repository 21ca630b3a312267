//! Questions with choices, as benchmarks of multiple choice have them.

use std::path::{Path, PathBuf};

use greentune_core_config::{
    settings::{DatasetFormat, DatasetSchema, Settings},
    task::DatasetCounts,
};
use serde_json::Value;

use super::{
    encode::Encoder,
    error::DataError,
    example::Example,
    rows::{self, Fault, Fields, Reason},
};

/// Fields that hold the question, the first that is there.
const PROMPT_FIELDS: [&str; 2] = ["question", "prompt"];
/// The field that holds the choices: a list of texts, or an object with the lists `text` and `label`.
const CHOICES_FIELD: &str = "choices";
/// Fields that say which choice is right, the first that is there.
const ANSWER_FIELDS: [&str; 3] = ["answer", "answerKey", "label"];
/// What stands between a question and a choice, as in most tasks of lm-evaluation-harness.
const BETWEEN: &str = " ";

/// How a choice stands behind its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChoiceForm {
    /// After one space.
    Plain,
    /// As the assistant's answer to the question, in the model's chat template.
    Chat,
}

impl ChoiceForm {
    /// Its name in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Chat => "chat template",
        }
    }
}

/// A question of multiple choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Line in the file, or number of the row; from 1.
    pub line: u64,
    /// What is asked.
    pub prompt: String,
    /// At least two, none empty.
    pub choices: Vec<String>,
    /// Which one is right, from 0.
    pub answer: usize,
}

/// The questions of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub questions: Vec<Question>,
    /// What was kept and dropped.
    pub counts: DatasetCounts,
}

impl Questions {
    /// The questions of `path`; `None` where its first readable record is no question of multiple choice: one with
    /// `question` or `prompt`, `choices`, and `answer`, `answerKey` or `label`.
    ///
    /// # Errors
    /// Those of the file's rows; [`DataError::Empty`] when no question can be used.
    pub fn load(path: &Path, settings: &Settings) -> Result<Option<Self>, DataError> {
        let format = rows::format(path, settings.dataset.format)?;
        let fields: Vec<_> = PROMPT_FIELDS.into_iter().chain([CHOICES_FIELD]).chain(ANSWER_FIELDS).collect();
        // A cell of CSV is no list. What cannot be opened so is no question; reading it as records says what is wrong.
        if format == DatasetFormat::Csv {
            return Ok(None);
        }
        let Ok(rows) = rows::open(path, format, &fields, true) else { return Ok(None) };
        let mut found =
            Self { path: path.to_owned(), questions: Vec::new(), counts: DatasetCounts::default() };
        let mut is_known = false;
        for row in rows {
            found.counts.read += 1;
            let row = match row? {
                Ok(row) => row,
                Err(rejection) => {
                    found.counts.broken_lines += 1;
                    found.counts.note(&rejection.problem);
                    continue;
                }
            };
            if !is_known && !is_question(&row.fields) {
                return Ok(None);
            }
            is_known = true;
            match question(row.line, &row.fields) {
                Ok(question) => {
                    found.counts.kept += 1;
                    found.questions.push(question);
                }
                Err(fault) => {
                    found.counts.missing_field += 1;
                    found.counts.note(&fault.at(path, row.line).problem);
                }
            }
        }
        match (is_known, found.questions.is_empty()) {
            (false, _) => Ok(None),
            (true, true) => Err(DataError::Empty { path: found.path, counts: Box::new(found.counts) }),
            (true, false) => Ok(Some(found)),
        }
    }
}

fn is_question(fields: &Fields) -> bool {
    let has = |name: &&str| fields.get(*name).is_some_and(|value| !value.is_null());
    let choices = fields.get(CHOICES_FIELD).is_some_and(|value| value.is_array() || value.is_object());
    choices && PROMPT_FIELDS.iter().any(has) && ANSWER_FIELDS.iter().any(has)
}

fn question(line: u64, fields: &Fields) -> Result<Question, Fault> {
    let first = |names: &[&'static str]| {
        names.iter().find_map(|name| Some((*name, fields.get(*name).filter(|value| !value.is_null())?)))
    };
    let prompt = first(&PROMPT_FIELDS).and_then(|(_, value)| value.as_str());
    let prompt = prompt
        .filter(|prompt| !prompt.trim().is_empty())
        .ok_or_else(|| fault("`question` or `prompt` must be a text that is not empty"))?;
    let (choices, labels) = choices(fields.get(CHOICES_FIELD).unwrap_or(&Value::Null))
        .ok_or_else(|| fault("`choices` must be a list of two or more texts, none of them empty"))?;
    let (name, answer) = first(&ANSWER_FIELDS)
        .ok_or_else(|| fault("`answer` is missing: the right choice, as its number from 0 or its letter"))?;
    let index = index(answer, &choices, &labels).ok_or_else(|| {
        fault(format!("`{name}` is {answer} and names none of the {} choices", choices.len()))
    })?;
    Ok(Question { line, prompt: prompt.to_owned(), choices, answer: index })
}

/// The texts of choices, and their labels where they have some.
fn choices(value: &Value) -> Option<(Vec<String>, Vec<String>)> {
    let texts = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let (found, labels) = match value {
        Value::Object(parts) => (texts(parts.get("text")?)?, texts(parts.get("label")?)?),
        list => (texts(list)?, Vec::new()),
    };
    let is_usable = found.len() > 1 && found.iter().all(|choice| !choice.trim().is_empty());
    is_usable.then_some((found, labels))
}

/// Which choice an answer names: by its label, its number from 0, its letter, or its text.
fn index(answer: &Value, choices: &[String], labels: &[String]) -> Option<usize> {
    let within = |index: usize| (index < choices.len()).then_some(index);
    let Some(text) = answer.as_str().map(str::trim) else {
        return within(usize::try_from(answer.as_u64()?).ok()?);
    };
    if !labels.is_empty() {
        return within(labels.iter().position(|label| label == text)?);
    }
    let mut letters = text.chars();
    if let (Some(letter @ 'A'..='Z'), None) = (letters.next(), letters.next()) {
        return within(letter as usize - 'A' as usize);
    }
    let as_text = || choices.iter().position(|choice| choice == text);
    text.parse().map_or_else(|_| as_text(), within)
}

fn fault(message: impl Into<String>) -> Fault {
    Fault::new(Reason::MissingField, "data.choices", message)
}

impl Encoder {
    /// The form of choices: what is `wanted`, else the chat template where records of `schema` are written in it. A model
    /// that was trained on chats expects one.
    ///
    /// # Errors
    /// [`DataError::NoChatTemplate`] where it is wanted and records have another form.
    pub fn choice_form(&self, wanted: Option<bool>, schema: DatasetSchema) -> Result<ChoiceForm, DataError> {
        let has_one = self.has_chat_template();
        if wanted == Some(true) && !has_one {
            return Err(DataError::NoChatTemplate);
        }
        let is_chat = wanted.unwrap_or(has_one && schema != DatasetSchema::Completion);
        Ok(if is_chat { ChoiceForm::Chat } else { ChoiceForm::Plain })
    }

    /// The question with each of its choices behind it, whose tokens are labelled: the sum of their losses is the negated
    /// log-likelihood of the choice. `None` where a choice has no token of its own, or too many for the model.
    ///
    /// Texts are those of lm-evaluation-harness 0.4.13: plain, or with `--apply_chat_template`, where the question is what the
    /// user says and the choice follows the header of the assistant's turn directly (`ConfigurableTask.construct_requests`).
    ///
    /// # Errors
    /// As [`choice_form`](Self::choice_form) and [`Tokenizer::encode`](super::Tokenizer::encode); [`DataError::Template`] for a
    /// chat template that refuses the question.
    pub fn choices(&self, question: &Question, form: ChoiceForm) -> Result<Option<Vec<Example>>, DataError> {
        let (context, between) = match form {
            ChoiceForm::Plain => (question.prompt.clone(), BETWEEN),
            ChoiceForm::Chat => (self.chat_prompt(&question.prompt)?.ok_or(DataError::NoChatTemplate)?, ""),
        };
        let continued = |choice: &String| self.continued(&context, &format!("{between}{choice}"));
        question.choices.iter().map(continued).collect()
    }

    /// `context` with a labelled continuation.
    ///
    /// Tokens are those of the harness (`TemplateLM._encode_pair`): white space at the end of the context goes to the
    /// continuation; both are tokenised together, and the continuation's tokens are those behind as many as the context has
    /// alone; they follow the context's own tokens. Of what is longer than the model's context the beginning is left out.
    fn continued(&self, context: &str, continuation: &str) -> Result<Option<Example>, DataError> {
        let tokenizer = self.tokenizer();
        let is_space = |c: char| c.is_whitespace() || matches!(c, '\x1c'..='\x1f');
        let encode = |text: &str| -> Result<Vec<u32>, DataError> {
            let ids = tokenizer.encode(text)?;
            Ok([tokenizer.prefix_of(&ids), &ids].concat())
        };
        let mut tokens = encode(context.trim_end_matches(is_space))?;
        let whole = encode(&format!("{context}{continuation}"))?;
        let mut start = tokens.len();
        // Where the continuation changes how the context's end is tokenised, the context keeps the tokens that it has alone.
        tokens.extend(whole.get(start..).unwrap_or_default());
        let longest = tokenizer.context_length().map_or(usize::MAX, |length| length.saturating_add(1));
        let beyond = tokens.len().saturating_sub(longest);
        // The continuation's first token is predicted from the one before it, which must be left.
        if start == tokens.len() || start <= beyond {
            return Ok(None);
        }
        tokens.drain(..beyond);
        start -= beyond;
        let end = tokens.len();
        Ok(Some(Example::new(tokens, [start..end])))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use greentune_core_config::Diagnostic;
    use jiff::Timestamp;

    use super::*;
    use crate::test_model::{CHAT_TEMPLATE, TestModel};

    fn load(text: &str) -> Result<Option<Questions>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.jsonl");
        fs::write(&path, text).unwrap();
        Questions::load(&path, &Settings::default())
    }

    #[test]
    fn answers_are_numbers_letters_labels_or_texts() {
        let lines = [
            r#"{"question":"q","choices":["a","b","c"],"answer":2}"#,
            r#"{"prompt":"q","choices":["a","b"],"answer":"B"}"#,
            r#"{"question":"q","choices":{"text":["x","y"],"label":["1","2"]},"answerKey":"2"}"#,
            r#"{"question":"q","choices":["a","b"],"label":"1"}"#,
            r#"{"question":"q","choices":["yes","no"],"answer":"no"}"#,
        ];
        let found = load(&lines.join("\n")).unwrap().unwrap();
        assert_eq!(found.questions.iter().map(|one| one.answer).collect::<Vec<_>>(), [2, 1, 1, 1, 1]);
        assert_eq!(found.questions[2].choices, ["x", "y"]);
    }

    #[test]
    fn what_cannot_be_decided_is_named_and_left_out() {
        let lines = [
            r#"{"question":"q","choices":["a","b"],"answer":0}"#,
            r#"{"question":"q","choices":["a","b"],"answer":2}"#,
            r#"{"question":"q","choices":["a"],"answer":0}"#,
            r#"{"question":" ","choices":["a","b"],"answer":0}"#,
            r#"{"question":"q","choices":["a",""],"answer":0}"#,
            r#"{"question":"q","choices":["a","b"]}"#,
            "{broken",
        ];
        let counts = load(&lines.join("\n")).unwrap().unwrap().counts;
        assert_eq!([counts.read, counts.kept, counts.missing_field, counts.broken_lines], [7, 1, 5, 1]);
        let error = load(r#"{"question":"q","choices":["a","b"],"answer":"Z"}"#).unwrap_err();
        assert_eq!(error.problem().code, "data.empty");
        let said = &error.problem().problems[0].message;
        assert!(said.contains("`answer` is \"Z\" and names none of the 2 choices"), "{said}");
    }

    #[test]
    fn other_records_are_no_questions() {
        for text in [
            r#"{"instruction":"i","output":"o"}"#,
            r#"{"question":"q","answer":"a"}"#,
            r#"{"question":"q","choices":"a, b","answer":"a"}"#,
            "",
        ] {
            assert_eq!(load(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn tokens_are_those_of_the_harness() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let reference: Value =
            serde_json::from_str(&fs::read_to_string(fixtures.join("reference/choices.json")).unwrap())
                .unwrap();
        let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
        for (form, pairs) in
            [(ChoiceForm::Plain, &reference["pairs"]), (ChoiceForm::Chat, &reference["in_chat"]["pairs"])]
        {
            let pairs = pairs.as_array().unwrap();
            assert!(pairs.len() > 100);
            for pair in pairs {
                let text = |key: &str| pair[key].as_str().unwrap();
                let settings = Settings::default();
                let encoder =
                    Encoder::new(&fixtures.join(text("model")), &settings, Timestamp::UNIX_EPOCH).unwrap();
                let choices = vec![text("choice").to_owned()];
                let question = Question { line: 1, prompt: text("prompt").to_owned(), choices, answer: 0 };
                let example = encoder.choices(&question, form).unwrap().unwrap().remove(0);
                let (context, continuation) = (ids(&pair["context"]), ids(&pair["continuation"]));
                let mut whole = [&context[..], &continuation].concat();
                let longest = encoder.tokenizer().context_length().map_or(usize::MAX, |length| length + 1);
                whole.drain(..whole.len().saturating_sub(longest));
                assert_eq!(example.tokens, whole, "{form:?} {pair}");
                assert_eq!(example.labelled_tokens(), continuation.len(), "{form:?} {pair}");
            }
        }
    }

    #[test]
    fn the_form_is_that_of_the_records_unless_another_is_wanted() {
        let encoder = |model: &TestModel, settings: &Settings| {
            Encoder::new(model.path(), settings, Timestamp::UNIX_EPOCH).unwrap()
        };
        let (auto, completion) = (DatasetSchema::Auto, DatasetSchema::Completion);
        let chat = encoder(&TestModel::with_chat_template(CHAT_TEMPLATE), &Settings::default());
        assert_eq!(chat.choice_form(None, auto).unwrap(), ChoiceForm::Chat);
        assert_eq!(chat.choice_form(None, completion).unwrap(), ChoiceForm::Plain);
        assert_eq!(chat.choice_form(Some(true), completion).unwrap(), ChoiceForm::Chat);
        assert_eq!(chat.choice_form(Some(false), auto).unwrap(), ChoiceForm::Plain);
        let mut own = Settings::default();
        own.dataset.prompt_template = Some(String::from("{{ instruction }} {{ input }} "));
        let own = encoder(&TestModel::with_chat_template(CHAT_TEMPLATE), &own);
        for other in [own, encoder(&TestModel::new(), &Settings::default())] {
            assert_eq!(other.choice_form(None, auto).unwrap(), ChoiceForm::Plain);
            let problem = other.choice_form(Some(true), auto).unwrap_err().problem();
            assert_eq!(problem.code, "template.no_chat");
        }
    }
}
