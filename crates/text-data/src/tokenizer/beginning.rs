//! The beginning of a text as tokens: as much as a context holds, whatever follows.

use super::{Encoded, Tokenizer};
use crate::error::DataError;

/// Tokens before a cut that are left out, because what follows a cut may change how the text before it is split: a word
/// goes on, a run of digits is counted from its end, a pair is merged with what comes. Such influence ends with the
/// word in pre-tokenised texts, and after a few merges in others.
const MARGIN: usize = 1024;

/// Bytes of text per token that are tried first; texts of natural languages have three to five.
const BYTES_PER_TOKEN: usize = 8;

/// The bytes of a text that are tokenised at most, whatever the context: about 110 bytes of memory go with each.
const TEXT_BYTES: usize = 4 << 20;

/// The same per token of the context, for contexts of which that many bytes are not enough.
const TEXT_BYTES_PER_TOKEN: usize = 32;

/// The tokens with which a text begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// More of them than were asked for, unless the text ends before.
    pub(crate) encoded: Encoded,
    /// Up to which byte the text was tokenised.
    pub(crate) end: usize,
}

impl Tokenizer {
    /// The tokens of the whole of `text` if they are no more than `wanted`, else more than `wanted` of those that it
    /// begins with. Memory and time depend on `wanted`, not on how long the text is.
    ///
    /// # Errors
    /// As [`encode_whole`](Self::encode_whole); [`DataError::TextTooLong`] for a text that is too long to be tokenised
    /// and of whose beginning there are too few tokens, such as one of white space that the tokenizer drops.
    pub(crate) fn encode_beginning(
        &self,
        text: &str,
        is_marked: bool,
        wanted: usize,
    ) -> Result<Beginning, DataError> {
        let most = TEXT_BYTES.max(wanted.saturating_mul(TEXT_BYTES_PER_TOKEN));
        let mut bytes = wanted.saturating_add(MARGIN).saturating_mul(BYTES_PER_TOKEN);
        loop {
            if bytes >= text.len() && text.len() <= most {
                return Ok(Beginning { encoded: self.encode_whole(text, is_marked)?, end: text.len() });
            }
            let end = text.floor_char_boundary(bytes.min(most));
            let mut encoded = self.encode_whole(&text[..end], is_marked)?;
            let kept = encoded.ids.len().saturating_sub(MARGIN);
            if kept > wanted {
                encoded.ids.truncate(kept);
                encoded.spans.truncate(kept);
                return Ok(Beginning { encoded, end });
            }
            if bytes >= most {
                return Err(DataError::TextTooLong { bytes: text.len(), most });
            }
            bytes = bytes.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::TestModel;

    #[test]
    fn the_beginning_is_that_of_the_whole_and_does_not_grow_with_the_text() {
        let tokenizer = TestModel::new().tokenizer();
        let text = "Héllo wörld, 12345 times. ".repeat(4000);
        let whole = tokenizer.encode_whole(&text, false).unwrap();
        for wanted in [1, 64, 5000] {
            let Beginning { encoded, end } = tokenizer.encode_beginning(&text, false, wanted).unwrap();
            assert!(encoded.ids.len() > wanted && end < text.len());
            assert_eq!(encoded.ids, whole.ids[..encoded.ids.len()]);
            assert_eq!(encoded.spans, whole.spans[..encoded.ids.len()]);
            let longer = tokenizer.encode_beginning(&text.repeat(3), false, wanted).unwrap();
            assert_eq!(longer, Beginning { encoded, end });
        }
        let all = tokenizer.encode_beginning(&text, false, whole.ids.len()).unwrap();
        assert_eq!(all, Beginning { encoded: whole, end: text.len() });
    }

    #[test]
    fn a_cut_through_a_marked_control_token_changes_nothing_before_it() {
        let tokenizer = TestModel::new().tokenizer();
        let text = tokenizer.control_tokens().mark(&"a<|end|>b".repeat(2000));
        let whole = tokenizer.encode_whole(&text, true).unwrap();
        for wanted in 60..70 {
            let encoded = tokenizer.encode_beginning(&text, true, wanted).unwrap().encoded;
            assert_eq!(encoded.ids, whole.ids[..encoded.ids.len()]);
            assert_eq!(encoded.spans, whole.spans[..encoded.ids.len()]);
        }
    }

    #[test]
    fn a_text_that_gives_too_few_tokens_is_refused_once_it_is_too_long() {
        let model = TestModel::new();
        model.change_tokenizer(|json| {
            json["normalizer"] =
                serde_json::json!({"type": "Replace", "pattern": {"Regex": " +"}, "content": ""});
        });
        let tokenizer = model.tokenizer();
        let blank = " ".repeat(TEXT_BYTES);
        assert_eq!(tokenizer.encode_beginning(&blank, false, 64).unwrap().encoded, Encoded::default());
        let error = tokenizer.encode_beginning(&(blank + " "), false, 64).unwrap_err();
        assert!(matches!(error, DataError::TextTooLong { most: TEXT_BYTES, .. }));
    }
}
