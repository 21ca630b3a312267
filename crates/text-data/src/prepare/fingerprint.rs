//! What tells records apart, whatever their case and white space, and what tells that two are nearly the same.

use crate::{
    sampler::mix,
    schema::{Body, Conversation, Role, Turn},
};

/// Values of a sketch; with 16 an estimated similarity is off by about 0.1.
const SKETCH: usize = 16;
/// Values of a band: records of which a whole band agrees are compared.
const BAND: usize = 4;
/// Words of a shingle.
const SHINGLE: usize = 3;
/// Share of a sketch that must agree.
const NEAR: f64 = 0.8;

/// A record's text in numbers that are the same on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Equal for records that differ in case and white space alone.
    pub(super) content: u128,
    /// The same for what comes before the last response; `None` for text without a prompt.
    pub(super) prompt: Option<u128>,
    sketch: [u32; SKETCH],
}

impl Fingerprint {
    pub(super) fn of(body: &Body) -> Self {
        let (prompt, response) = match body {
            Body::Instruction { before, instruction, input, response } => {
                let request = [instruction.as_str(), input].map(str::to_owned);
                (said(before).chain(request).collect(), response.clone())
            }
            Body::Completion { prompt, completion } if prompt.is_empty() => (Vec::new(), completion.clone()),
            Body::Completion { prompt, completion } => (vec![prompt.clone()], completion.clone()),
            Body::Conversation(Conversation { turns, .. }) => {
                let (last, before) = turns
                    .split_last()
                    .map_or((String::new(), &turns[..]), |(last, before)| (text(last), before));
                (said(before).collect(), last)
            }
        };
        let content: Vec<String> = prompt.iter().cloned().chain([response]).collect();
        Self {
            content: hash(&content),
            prompt: (!prompt.is_empty()).then(|| hash(&prompt)),
            sketch: sketch(&content),
        }
    }

    /// Keys that near duplicates are likely to have one of in common.
    pub(super) fn bands(&self) -> impl Iterator<Item = u64> + '_ {
        self.sketch.chunks(BAND).enumerate().map(|(band, values)| {
            values.iter().fold(mix(band as u64 + 1), |key, value| mix(key ^ u64::from(*value)))
        })
    }

    /// Whether the two share about four fifths or more of their shingles.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        let equal = self.sketch.iter().zip(&other.sketch).filter(|(a, b)| a == b).count();
        equal as f64 >= NEAR * SKETCH as f64
    }
}

/// What the turns say. A system message is often that of all records: what is said on it tells them apart.
fn said(turns: &[Turn]) -> impl Iterator<Item = String> + '_ {
    turns.iter().filter(|turn| turn.role != Role::System).map(text)
}

fn text(turn: &Turn) -> String {
    let calls = turn.tool_calls().iter().map(ToString::to_string);
    [turn.content.clone()].into_iter().chain(calls).collect::<Vec<_>>().join(" ")
}

/// Words in lower case.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(str::to_lowercase)
}

/// The parts' words, each part ended.
fn hash<T: AsRef<str>>(parts: &[T]) -> u128 {
    parts.iter().fold(OFFSET_BASIS, |state, part| {
        let state =
            words(part.as_ref()).fold(state, |state, word| fnv1a(fnv1a(state, word.as_bytes()), b" "));
        // No text holds this byte.
        fnv1a(state, &[0xff])
    })
}

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// FNV-1a of 128 bits (draft-eastlake-fnv): the same on every platform and in every version, as the splits must be.
fn fnv1a(state: u128, bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(state, |state, byte| (state ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// MinHash (Broder 1997) of the text's shingles: the share of values that two sketches have in common estimates the
/// share of shingles that the texts have in common.
fn sketch(parts: &[String]) -> [u32; SKETCH] {
    let words: Vec<u64> =
        parts.iter().flat_map(|part| words(part)).map(|word| hash(&[&word]) as u64).collect();
    let mut least = [u32::MAX; SKETCH];
    for shingle in words.windows(SHINGLE.min(words.len()).max(1)) {
        let shingle = shingle.iter().fold(0, |state, word| mix(state ^ word));
        for (seed, least) in least.iter_mut().enumerate() {
            *least = (*least).min(mix(shingle ^ mix(seed as u64 + 1)) as u32);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(instruction: &str, response: &str) -> Fingerprint {
        let (instruction, input, response) = (instruction.into(), String::new(), response.into());
        Fingerprint::of(&Body::Instruction { before: Vec::new(), instruction, input, response })
    }

    #[test]
    fn case_and_white_space_do_not_tell_records_apart() {
        assert_eq!(of("Add  one.", "Two"), of(" add one.\n", "two "));
        assert_ne!(of("Add one.", "two").content, of("Add one. two", "").content);
        assert_ne!(of("Add one.", "two").content, of("Add one!", "two").content);
        assert_eq!(of("a", "b").prompt, of("a", "c").prompt);
    }

    #[test]
    fn values_are_those_of_the_reference_and_pinned() {
        // draft-eastlake-fnv, appendix C; and "a ", "b ", then the end of two parts.
        assert_eq!(fnv1a(OFFSET_BASIS, b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(hash(&["A\tb", ""]), 0x655c_e8fe_973c_64bf_6f10_01f6_2ba9_b4ec);
    }

    #[test]
    fn near_duplicates_share_a_band_and_strangers_do_not() {
        let text: Vec<String> = (0..60).map(|n| format!("word{}", n * n % 97)).collect();
        let original = text.join(" ");
        let mut changed = text.clone();
        changed[30] = "other".into();
        let (a, b) = (of(&original, "yes"), of(&changed.join(" "), "yes"));
        assert!(a.is_near(&b) && a.bands().any(|band| b.bands().any(|other| other == band)));
        let stranger = of("Entirely different words stand in this record and in no other one", "no");
        assert!(!a.is_near(&stranger));
        assert!(!of("Say 1.", "one").is_near(&of("Say 2.", "two")));
    }

    #[test]
    fn text_without_a_prompt_has_none() {
        let text = Fingerprint::of(&Body::Completion { prompt: String::new(), completion: "once".into() });
        assert_eq!(text.prompt, None);
        let talk = |system: &str| {
            Fingerprint::of(&Body::Conversation(Conversation::new(vec![
                Turn::new(Role::System, system),
                Turn::new(Role::User, "hi"),
                Turn::new(Role::Assistant, "hello"),
            ])))
        };
        assert_eq!(talk("a").prompt, talk("b").prompt);
    }
}
