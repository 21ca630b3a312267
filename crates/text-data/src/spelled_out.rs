//! Control tokens that records spell out in what they say: they look to the model like the frame of a conversation.

use greentune_core_config::task::ControlTokenCount;

use super::{record::Record, schema::Body, tokenizer::Tokenizer};

/// Kinds of tokens that are listed.
const LISTED: usize = 10;

/// Counts the control tokens in records.
pub(super) struct SpelledOut {
    counts: Vec<ControlTokenCount>,
}

impl SpelledOut {
    /// Looks for those of `tokenizer`.
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let tokens = tokenizer.special_token_texts().into_iter();
        Self { counts: tokens.map(|token| ControlTokenCount { token, records: 0, first_line: 0 }).collect() }
    }

    pub(super) fn look_at(&mut self, record: &Record) {
        let texts = texts(&record.body);
        for count in &mut self.counts {
            if texts.iter().any(|text| text.contains(&count.token)) {
                if count.records == 0 {
                    count.first_line = record.line;
                }
                count.records += 1;
            }
        }
    }

    /// Those that occur, the most frequent first.
    pub(super) fn found(mut self) -> Vec<ControlTokenCount> {
        self.counts.retain(|count| count.records > 0);
        self.counts.sort_by_key(|count| std::cmp::Reverse(count.records));
        self.counts.truncate(LISTED);
        self.counts
    }
}

/// What a record says itself.
fn texts(body: &Body) -> Vec<&str> {
    match body {
        Body::Instruction { before, instruction, input, response } => {
            let before = before.iter().map(|turn| turn.content.as_str());
            before.chain([instruction.as_str(), input, response]).collect()
        }
        Body::Conversation(conversation) => {
            conversation.turns.iter().map(|turn| turn.content.as_str()).collect()
        }
        Body::Completion { prompt, completion } => vec![prompt.as_str(), completion.as_str()],
    }
}
