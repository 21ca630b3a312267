//! What a model reads before it answers somebody who asks it something.

use super::{Beginning, Body, DataError, Encoder, Rendered, unmarked};
use crate::schema::{Role, Turn};

/// A prompt in the form that a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its text, special tokens spelled out.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

impl Encoder {
    /// `request`, after a `system` message if there is one, in the form in which records have it; with `raw` as it
    /// stands.
    ///
    /// # Errors
    /// [`DataError::Template`] for a template that refuses it; [`DataError::PromptFillsContext`] for one that is too long.
    pub fn prompt(&self, system: Option<&str>, request: &str, raw: bool) -> Result<Prompt, DataError> {
        let rendered = if raw { as_it_stands(request) } else { self.asked(system, request)? };
        let Beginning { encoded, end } =
            self.tokenizer.encode_beginning(&rendered.text, rendered.is_marked, self.context_length)?;
        let prefix =
            if rendered.spells_out_beginning { &[][..] } else { self.tokenizer.prefix_of(&encoded.ids) };
        let tokens = [prefix, &encoded.ids].concat();
        if tokens.len() >= self.context_length || end < rendered.text.len() {
            return Err(DataError::PromptFillsContext { context: self.context_length });
        }
        let text = if rendered.is_marked { unmarked(&rendered.text) } else { rendered.text };
        Ok(Prompt { text, tokens })
    }

    /// Everything before the answer of a record with this request.
    fn asked(&self, system: Option<&str>, request: &str) -> Result<Rendered, DataError> {
        let body = Body::Instruction {
            before: system.map(|text| Turn::new(Role::System, text)).into_iter().collect(),
            instruction: request.to_owned(),
            input: String::new(),
            response: String::from("answer"),
        };
        let mut rendered = self.template.render(&body, |text| Ok(text.len()))?;
        let end = rendered.answers.last().map_or(rendered.text.len(), |answer| answer.range.start);
        rendered.text.truncate(end);
        Ok(rendered)
    }
}

fn as_it_stands(request: &str) -> Rendered {
    Rendered { text: request.to_owned(), ..Rendered::default() }
}

#[cfg(test)]
mod tests {
    use greentune_core_config::settings::Settings;
    use jiff::Timestamp;

    use super::*;
    use crate::test_model::{CHAT_TEMPLATE, TestModel};

    fn encoder(model: &TestModel, settings: &Settings) -> Encoder {
        Encoder::new(model.path(), settings, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_prompt_has_the_form_of_the_records() {
        let encoder = encoder(&TestModel::new(), &Settings::default());
        let prompt = encoder.prompt(None, "Add.", false).unwrap();
        assert_eq!(prompt.text, "### Instruction:\nAdd.\n\n### Response:\n");
        assert_eq!(encoder.tokenizer().decode(&prompt.tokens, true).unwrap(), prompt.text);
        let after_system = encoder.prompt(Some("Be brief."), "Add.", false).unwrap();
        assert_eq!(after_system.text, "### Instruction:\nBe brief.\n\nAdd.\n\n### Response:\n");
        assert_eq!(encoder.prompt(None, "Once upon", true).unwrap().text, "Once upon");
    }

    #[test]
    fn a_prompt_has_the_form_of_the_chat_template() {
        let encoder = encoder(&TestModel::with_chat_template(CHAT_TEMPLATE), &Settings::default());
        let prompt = encoder.prompt(Some("S"), "U", false).unwrap();
        let of_record = encoder.asked(Some("S"), "U").unwrap().text;
        assert_eq!(prompt.text, of_record);
        assert!(prompt.text.contains('S') && prompt.text.contains('U') && !prompt.text.contains("answer"));
    }

    #[test]
    fn a_prompt_that_fills_the_context_is_refused() {
        let mut settings = Settings::default();
        settings.training.max_seq_length = 8;
        let refused = encoder(&TestModel::new(), &settings).prompt(None, &"word ".repeat(100), false);
        assert!(matches!(refused, Err(DataError::PromptFillsContext { context: 8 })), "{refused:?}");
    }
}
