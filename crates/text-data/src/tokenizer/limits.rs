//! What a tokenizer may make of a text: one from a stranger must not turn a few bytes into more than memory holds, or
//! take time with the square of a word.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use tokenizers::ModelWrapper;

use super::parts::Parts;
use crate::error::DataError;

/// How many times as long a text may become by what `tokenizer.json` replaces in it. The usual replacement of a space by
/// `▁` makes it three times as long.
const MOST_GROWTH: usize = 64;

/// Characters of a word that WordPiece looks up at most; its time grows with their square. The usual limit is 100.
const MOST_WORD_CHARACTERS: usize = 1_000;

/// Bytes of a tokenizer's file; the largest in use have about 40 MB.
const FILE_BYTES: u64 = 512 << 20;

/// Bytes of a piece of Unigram, and of all together. SentencePiece makes pieces of 16 characters unless it is told
/// otherwise, and vocabularies of a few MB.
const PIECE_BYTES: usize = 1024;
const PIECES_BYTES: usize = 64 << 20;

/// The content of a tokenizer's file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => DataError::TokenizerNotFound { path: path.to_owned() },
        _ => DataError::Unreadable { path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        let reason = format!("it has more than {} MiB", FILE_BYTES >> 20);
        return Err(DataError::TokenizerBroken { path: path.to_owned(), reason });
    }
    check_pieces(&bytes, path)?;
    Ok(bytes)
}

/// Refuses the tokenizer in `path` if a text may grow by it beyond measure.
pub(super) fn check(inner: &Parts, path: &Path) -> Result<(), DataError> {
    let refused = |reason| Err(DataError::TokenizerBroken { path: path.to_owned(), reason });
    for (part, growth) in [
        ("normalizer", inner.get_normalizer().map_or(1, |part| part.growth)),
        ("decoder", inner.get_decoder().map_or(1, |part| part.growth)),
    ] {
        if growth > MOST_GROWTH {
            return refused(format!(
                "its {part} may make a text {growth} times as long; {MOST_GROWTH} times are allowed"
            ));
        }
    }
    match inner.get_model() {
        ModelWrapper::WordPiece(model) if model.max_input_chars_per_word > MOST_WORD_CHARACTERS => {
            refused(format!(
                "its max_input_chars_per_word is {}; {MOST_WORD_CHARACTERS} are allowed",
                model.max_input_chars_per_word
            ))
        }
        _ => Ok(()),
    }
}

/// How many times as long a text is at most behind the replacements of `part`, a normalizer or a decoder as
/// `tokenizer.json` has it.
pub(super) fn growth(part: &Value) -> usize {
    let inner = ["normalizers", "decoders"].iter().find_map(|key| part[*key].as_array());
    if let Some(inner) = inner {
        return inner.iter().map(growth).fold(1, usize::saturating_mul);
    }
    let length = |text: &Value| text.as_str().map_or(0, str::len);
    match part["type"].as_str() {
        Some("Replace") => match length(&part["pattern"]["String"]) {
            // A regular expression may match a byte, and nothing between two.
            0 => length(&part["content"]) + 1,
            pattern => length(&part["content"]).div_ceil(pattern).max(1),
        },
        // The longest text that its map has for a character; what it makes longer has three bytes itself in all maps in use.
        Some("Precompiled") => longest_replacement(&part["precompiled_charsmap"]).div_ceil(3).max(1),
        Some("Prepend") => length(&part["prepend"]).max(1),
        _ => 1,
    }
}

/// The bytes of the longest text in a map of SentencePiece: in Base64 the length of an index (32 bits, little-endian), the
/// index, and texts that end with zero.
fn longest_replacement(map: &Value) -> usize {
    let map = BASE64_STANDARD.decode(map.as_str().unwrap_or_default()).unwrap_or_default();
    let Some((length, rest)) = map.split_first_chunk::<4>() else { return 0 };
    let texts = rest.get(u32::from_le_bytes(*length) as usize..).unwrap_or_default();
    texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0)
}

/// Refuses a vocabulary of pieces (of the model Unigram) that takes memory and time without measure: each byte of a piece
/// is a node of a tree, through which every place of a text is led as deep as it goes.
fn check_pieces(bytes: &[u8], path: &Path) -> Result<(), DataError> {
    #[derive(Deserialize, Default)]
    struct File {
        #[serde(default)]
        model: Model,
    }
    #[derive(Deserialize, Default)]
    struct Model {
        #[serde(default)]
        vocab: Pieces,
    }
    // A file that is damaged has no pieces here. The tokenizer's own reader, which comes next, refuses it.
    let Pieces { longest, total } = serde_json::from_slice::<File>(bytes).unwrap_or_default().model.vocab;
    let refused = |reason| Err(DataError::TokenizerBroken { path: path.to_owned(), reason });
    if longest > PIECE_BYTES {
        return refused(format!("a piece of its vocabulary has {longest} bytes; {PIECE_BYTES} are allowed"));
    }
    if total > PIECES_BYTES {
        return refused(format!(
            "the pieces of its vocabulary have {total} bytes; {} MiB are allowed",
            PIECES_BYTES >> 20
        ));
    }
    Ok(())
}

/// The bytes of the pieces of a vocabulary that is a list.
#[derive(Clone, Copy, Default)]
struct Pieces {
    longest: usize,
    total: usize,
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PiecesVisitor)
    }
}

struct PiecesVisitor;

impl<'de> Visitor<'de> for PiecesVisitor {
    type Value = Pieces;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a vocabulary")
    }

    fn visit_unit<E>(self) -> Result<Pieces, E> {
        Ok(Pieces::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pieces, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Pieces::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<Pieces, A::Error> {
        let mut found = Pieces::default();
        while let Some((piece, _)) = pieces.next_element::<(String, IgnoredAny)>()? {
            found.longest = found.longest.max(piece.len());
            found.total += piece.len();
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_model::TestModel;

    fn replace(pattern: &Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    fn refusal(part: &str, value: &Value) -> String {
        let model = TestModel::new();
        model.change_tokenizer(|json| json[part] = value.clone());
        model.load().err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn replacements_that_explode_are_refused_and_the_usual_ones_are_not() {
        let doubling = replace(&json!({"String": "a"}), "aa");
        for (normalizer, growth) in [
            (json!({"type": "Sequence", "normalizers": vec![doubling.clone(); 40]}), "1099511627776 times"),
            (replace(&json!({"String": "a"}), &"a".repeat(1 << 20)), "1048576 times"),
            (replace(&json!({"Regex": "."}), &"b".repeat(99)), "100 times"),
        ] {
            let refusal = refusal("normalizer", &normalizer);
            assert!(refusal.contains("normalizer") && refusal.contains(growth), "{refusal}");
        }
        let decoder = json!({"type": "Sequence", "decoders": vec![doubling; 40]});
        assert!(refusal("decoder", &decoder).contains("decoder"));
        let usual = json!({"type": "Sequence", "normalizers":
            [{"type": "Prepend", "prepend": "▁"}, replace(&json!({"String": " "}), "▁"), {"type": "NFKC"}]});
        assert_eq!(refusal("normalizer", &usual), "");
    }

    #[test]
    fn words_without_a_limit_are_refused() {
        let model = TestModel::new();
        model.change_tokenizer(|json| {
            json["model"] = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 1_u64 << 40, "vocab": {"[UNK]": 0, "a": 1}});
        });
        let error = model.load().err().unwrap().to_string();
        assert!(error.contains("max_input_chars_per_word is 1099511627776"), "{error}");
    }

    #[test]
    fn a_map_of_characters_that_explodes_is_refused() {
        let map = |longest: usize| {
            let texts = [&b"x\0"[..], &vec![b'y'; longest], b"\0"].concat();
            let map = [&4_u32.to_le_bytes()[..], &[0; 4], &texts].concat();
            json!({"type": "Precompiled", "precompiled_charsmap": BASE64_STANDARD.encode(map)})
        };
        assert_eq!((growth(&map(33)), growth(&map(1 << 20))), (11, 349_526));
        assert!(
            refusal("normalizer", &map(1 << 20)).contains("normalizer may make a text 349526 times as long")
        );
        // That of SentencePiece's `nmt_nfkc`, with what goes with it.
        let usual = json!({"type": "Sequence", "normalizers":
            [map(33), {"type": "Strip", "strip_left": false, "strip_right": true}, replace(&json!({"Regex": " {2,}"}), "▁")]});
        assert_eq!(growth(&usual), 44);
    }

    #[test]
    fn pieces_without_measure_are_refused() {
        let unigram = |pieces: &[String]| {
            let vocab: Vec<_> = pieces.iter().map(|piece| json!([piece, -1.0])).collect();
            json!({"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false})
        };
        let refusal = |pieces: &[String]| refusal("model", &unigram(pieces));
        assert!(refusal(&["a".repeat(1 << 20)]).contains("a piece of its vocabulary has 1048576 bytes"));
        let many: Vec<_> = (0..70_000).map(|number| format!("{number:01000}")).collect();
        assert!(
            refusal(&many).contains("the pieces of its vocabulary have 70000000 bytes; 64 MiB are allowed")
        );
        assert_eq!(refusal(&["<unk>".into(), "a".repeat(64)]), "");
    }
}
