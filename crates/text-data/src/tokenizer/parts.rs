//! The parts of a tokenizer that search with regular expressions of its own, so that a search that fails is heard of.
//!
//! `tokenizers` takes a search that its engine gives up (more than a million steps back, or more places to go back to
//! than it keeps) for the end of the matches, and errors of a normalizer for nothing: the rest of the text would be one
//! piece, and its tokens others than transformers'. Here the searches are the same and their failures are noted.

use std::cell::RefCell;

use fancy_regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizedString, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizedString, PreTokenizerWrapper, SplitDelimiterBehavior, TokenizerImpl,
    pattern::{Invert, Pattern},
    pre_tokenizers::{byte_level::ByteLevel, split::SplitPattern},
};

use super::limits;
use crate::watch;

/// A tokenizer of these parts.
pub(super) type Parts = TokenizerImpl<ModelWrapper, Normalizer, PreTokenizer, PostProcessorWrapper, Decoder>;

type Broken = Box<fancy_regex::Error>;

/// What `ByteLevel` splits with unless `use_regex` is false (GPT-2's).
const BYTE_LEVEL: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

thread_local! {
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What `work` gives, and the failure of a search in it if there was one.
pub(super) fn with_failure<T>(work: impl FnOnce() -> T) -> (T, Option<String>) {
    FAILURE.take();
    let result = work();
    (result, FAILURE.take())
}

/// A regular expression of a tokenizer.
#[derive(Clone, Debug)]
pub(super) struct Search(Regex);

impl Search {
    fn new(pattern: &str) -> Result<Self, Broken> {
        Ok(Self(Regex::new(pattern).map_err(Box::new)?))
    }
}

impl Pattern for &Search {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<((usize, usize), bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let (mut pieces, mut end) = (Vec::new(), 0);
        for found in self.0.find_iter(inside) {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    let at = inside[..end].chars().count();
                    let reason =
                        format!("a search with its regular expression fails behind character {at}: {error}");
                    FAILURE.set(Some(reason.clone()));
                    return Err(reason.into());
                }
            };
            watch::go_on()?;
            if end != found.start() {
                pieces.push(((end, found.start()), false));
            }
            pieces.push(((found.start(), found.end()), true));
            end = found.end();
        }
        if end != inside.len() {
            pieces.push(((end, inside.len()), false));
        }
        Ok(pieces)
    }
}

/// What normalizes a text before it is split.
pub(super) type Normalizer = Replacing<NormalizerWrapper>;
/// What makes text of tokens.
pub(super) type Decoder = Replacing<DecoderWrapper>;

/// A normalizer or a decoder, and how many times as long a text may become by what it replaces.
#[derive(Clone, Debug)]
pub(super) struct Replacing<W> {
    step: Step<W>,
    pub(super) growth: usize,
}

#[derive(Clone, Debug)]
enum Step<W> {
    Sequence(Vec<Step<W>>),
    Replace { search: Search, content: String },
    Own(W),
}

/// The library's normalizers and decoders.
trait Wrapper: Clone {
    /// The key under which the tokenizer's file has the steps of a sequence.
    const STEPS: &'static str;
    /// The steps of a sequence; `None` for anything else.
    fn steps(&self) -> Option<&[Self]>;
}

impl Wrapper for NormalizerWrapper {
    const STEPS: &'static str = "normalizers";

    fn steps(&self) -> Option<&[Self]> {
        if let Self::Sequence(steps) = self { Some(steps.as_ref()) } else { None }
    }
}

impl Wrapper for DecoderWrapper {
    const STEPS: &'static str = "decoders";

    fn steps(&self) -> Option<&[Self]> {
        if let Self::Sequence(steps) = self { Some(steps.get_decoders()) } else { None }
    }
}

impl<'de, W: Wrapper + Deserialize<'de> + Serialize> Deserialize<'de> for Replacing<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let own = W::deserialize(deserializer)?;
        let json = serde_json::to_value(&own).map_err(D::Error::custom)?;
        Ok(Self { growth: limits::growth(&json), step: Step::new(&own, &json).map_err(D::Error::custom)? })
    }
}

impl<W: Wrapper> Step<W> {
    /// `json` is `own` as the tokenizer's file has it.
    fn new(own: &W, json: &Value) -> Result<Self, Broken> {
        if let Some(steps) = own.steps() {
            let steps = steps.iter().enumerate();
            let steps = steps.map(|(index, step)| Self::new(step, &json[W::STEPS][index]));
            return steps.collect::<Result<_, Broken>>().map(Self::Sequence);
        }
        Ok(match replacement(json)? {
            Some((search, content)) => Self::Replace { search, content },
            None => Self::Own(own.clone()),
        })
    }
}

impl Step<NormalizerWrapper> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        watch::go_on()?;
        match self {
            Self::Sequence(steps) => steps.iter().try_for_each(|step| step.normalize(text)),
            Self::Replace { search, content } => text.replace(search, content),
            Self::Own(own) => tokenizers::Normalizer::normalize(own, text),
        }
    }
}

impl tokenizers::Normalizer for Normalizer {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        self.step.normalize(text)
    }
}

/// Search and replacement of a normalizer or a decoder that replaces by a regular expression.
fn replacement(json: &Value) -> Result<Option<(Search, String)>, Broken> {
    let pattern = json["pattern"]["Regex"].as_str().filter(|_| json["type"] == "Replace");
    let Some(pattern) = pattern else { return Ok(None) };
    let content = json["content"].as_str().unwrap_or_default().to_owned();
    Ok(Some((Search::new(pattern)?, content)))
}

/// What splits a text into words.
#[derive(Clone, Debug)]
pub(super) enum PreTokenizer {
    Sequence(Vec<PreTokenizer>),
    Split { search: Search, behavior: SplitDelimiterBehavior, invert: bool },
    ByteLevel { search: Search, own: ByteLevel },
    Own(PreTokenizerWrapper),
}

impl<'de> Deserialize<'de> for PreTokenizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(PreTokenizerWrapper::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl PreTokenizer {
    fn new(own: PreTokenizerWrapper) -> Result<Self, Broken> {
        Ok(match own {
            PreTokenizerWrapper::Sequence(parts) => {
                Self::Sequence(parts.into_iter().map(Self::new).collect::<Result<_, Broken>>()?)
            }
            PreTokenizerWrapper::Split(split) => match &split.pattern {
                SplitPattern::Regex(pattern) => Self::Split {
                    search: Search::new(pattern)?,
                    behavior: split.behavior,
                    invert: split.invert,
                },
                SplitPattern::String(_) => Self::Own(PreTokenizerWrapper::Split(split)),
            },
            PreTokenizerWrapper::ByteLevel(own) if own.use_regex => {
                Self::ByteLevel { search: Search::new(BYTE_LEVEL)?, own }
            }
            own => Self::Own(own),
        })
    }
}

impl tokenizers::PreTokenizer for PreTokenizer {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        watch::go_on()?;
        match self {
            Self::Sequence(parts) => {
                parts.iter().try_for_each(|part| tokenizers::PreTokenizer::pre_tokenize(part, text))
            }
            Self::Split { search, behavior, invert: true } => {
                text.split(|_, piece| piece.split(Invert(search), *behavior))
            }
            Self::Split { search, behavior, invert: false } => {
                text.split(|_, piece| piece.split(search, *behavior))
            }
            Self::ByteLevel { search, own } => {
                text.split(|_, mut piece| {
                    if own.add_prefix_space && !piece.get().starts_with(' ') {
                        piece.prepend(" ");
                    }
                    piece.split(search, SplitDelimiterBehavior::Isolated)
                })?;
                // What is left to do: bytes as characters.
                let bytes = own.use_regex(false).add_prefix_space(false);
                tokenizers::PreTokenizer::pre_tokenize(&bytes, text)
            }
            Self::Own(own) => tokenizers::PreTokenizer::pre_tokenize(own, text),
        }
    }
}

impl Step<DecoderWrapper> {
    fn decode(&self, tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        match self {
            Self::Sequence(steps) => steps.iter().try_fold(tokens, |tokens, step| step.decode(tokens)),
            Self::Replace { search, content } => {
                tokens.iter().map(|token| replaced(token, search, content)).collect()
            }
            Self::Own(own) => tokenizers::Decoder::decode_chain(own, tokens),
        }
    }
}

impl tokenizers::Decoder for Decoder {
    fn decode_chain(&self, tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        self.step.decode(tokens)
    }
}

fn replaced(token: &str, search: &Search, content: &str) -> tokenizers::Result<String> {
    let pieces = search.find_matches(token)?.into_iter();
    Ok(pieces.map(|((start, end), is_match)| if is_match { content } else { &token[start..end] }).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{error::DataError, test_model::TestModel};

    const TEXTS: [&str; 7] = [
        "",
        "Hello world,  it's   12345\n\n  tabs\t\tend  ",
        "a\r\nb 'll don't WE'VE \u{a0}é ñandú ß",
        "日本語 テキスト 😀👍🏽 1,000,000",
        "   ",
        "x",
        "if a<b:\n\treturn [1, 22, 333]  # why?\n",
    ];

    /// Splitting as GPT-2, Llama 3, Qwen 2 and BLOOM do it, and in every other way that the file can ask for.
    fn variants() -> Vec<(&'static str, Value)> {
        let llama = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let digits = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))";
        let split = |pattern: &str, behavior: &str, invert: bool| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert});
        let bytes = |add_prefix_space: bool, use_regex: bool| {
            json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true,
                "use_regex": use_regex})
        };
        let then_bytes = |mut parts: Vec<Value>| {
            parts.push(bytes(false, false));
            json!({"type": "Sequence", "pretokenizers": parts})
        };
        let mut all = vec![
            ("pre_tokenizer", bytes(false, true)),
            ("pre_tokenizer", bytes(true, true)),
            ("pre_tokenizer", bytes(true, false)),
            (
                "pre_tokenizer",
                then_bytes(vec![split(digits, "Isolated", false), split(llama, "Isolated", false)]),
            ),
        ];
        for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] {
            for invert in [false, true] {
                all.push(("pre_tokenizer", then_bytes(vec![split(llama, behavior, invert)])));
                let text = json!({"type": "Split", "pattern": {"String": " "}, "behavior": behavior, "invert": invert});
                all.push(("pre_tokenizer", then_bytes(vec![text])));
            }
        }
        let replace =
            json!({"type": "Replace", "pattern": {"Regex": r"\s+(?!\S)|(\w)(?=\1)"}, "content": "_"});
        all.push(("normalizer", replace.clone()));
        all.push((
            "normalizer",
            json!({"type": "Sequence", "normalizers": [{"type": "NFKC"}, replace.clone(),
            {"type": "Replace", "pattern": {"String": "_"}, "content": "--"}]}),
        ));
        all.push(("decoder", json!({"type": "Sequence", "decoders": [bytes(false, true), replace]})));
        all
    }

    #[test]
    fn texts_are_split_replaced_and_decoded_as_by_the_library() {
        for (part, value) in variants() {
            let model = TestModel::new();
            model.change_tokenizer(|json| json[part] = value.clone());
            let file = std::fs::read(model.path().join("tokenizer.json")).unwrap();
            let (ours, theirs) =
                (Parts::from_bytes(&file).unwrap(), tokenizers::Tokenizer::from_bytes(&file).unwrap());
            for text in TEXTS {
                let (ours_of, theirs_of) =
                    (ours.encode(text, false).unwrap(), theirs.encode(text, false).unwrap());
                assert_eq!(ours_of.get_ids(), theirs_of.get_ids(), "{value} {text:?}");
                assert_eq!(ours_of.get_offsets(), theirs_of.get_offsets(), "{value} {text:?}");
                let ids = ours_of.get_ids();
                assert_eq!(
                    ours.decode(ids, false).unwrap(),
                    theirs.decode(ids, false).unwrap(),
                    "{value} {text:?}"
                );
            }
        }
    }

    fn refusal(part: &str, value: &Value, text: &str) -> String {
        let model = TestModel::new();
        model.change_tokenizer(|json| json[part] = value.clone());
        match model.tokenizer().encode(text) {
            Err(error @ DataError::TokenizerGaveUp { .. }) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(ids) => format!("{} tokens", ids.len()),
        }
    }

    #[test]
    fn a_search_that_the_engine_gives_up_is_an_error_and_not_the_end_of_the_matches() {
        let text = format!("bb {}", "a".repeat(64));
        for pattern in [r"(?:(a+)+)(?=b)", r"(?:(a)|a)*(?=b)"] {
            let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
            let replace = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "x"});
            for (part, value) in [("pre_tokenizer", split), ("normalizer", replace)] {
                let refusal = refusal(part, &value, &text);
                assert!(
                    refusal.contains("gives up: a search with its regular expression fails"),
                    "{pattern}: {refusal}"
                );
            }
        }
    }

    #[test]
    fn white_space_without_end_is_heard_of() {
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let text = |spaces: usize| " ".repeat(spaces) + "a";
        assert_eq!(refusal("pre_tokenizer", &byte_level, &text(10_000)), "10001 tokens");
        let refusal = refusal("pre_tokenizer", &byte_level, &text(1_100_000));
        assert!(refusal.contains("behind character 0"), "{refusal}");
    }
}
