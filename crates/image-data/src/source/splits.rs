//! Which part of a data set a folder holds, by its name.
//!
//! The words are those of the Hugging Face Hub's library `datasets` (`SPLIT_KEYWORDS` in its `data_files.py`), whatever
//! their case. As there, a word stands for itself between characters that are no letters: `my-train`, `test_2`.

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    Train,
    Validation,
    Test,
}

/// How a folder's name speaks of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// It is a word for the part and nothing else.
    Exact(Split),
    /// It has a word for the part among others, as `seg_train` has.
    Among(Split),
}

impl Split {
    pub(super) const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// What it is called in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        match word {
            "train" | "training" => Some(Self::Train),
            "validation" | "valid" | "val" | "dev" => Some(Self::Validation),
            "test" | "testing" | "eval" | "evaluation" => Some(Self::Test),
            _ => None,
        }
    }
}

impl Naming {
    /// What `name` says; nothing when it has no such word, or words for different parts.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let words: Vec<&str> =
            name.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()).collect();
        let mut splits = words.iter().filter_map(|word| Split::of_word(word));
        let first = splits.next()?;
        if splits.any(|split| split != first) {
            return None;
        }
        Some(if words.len() == 1 { Self::Exact(first) } else { Self::Among(first) })
    }

    pub(super) const fn split(self) -> Split {
        match self {
            Self::Exact(split) | Self::Among(split) => split,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Naming::{Among, Exact},
        Split::{Test, Train, Validation},
        *,
    };

    #[test]
    fn the_words_of_the_hub_are_known_whatever_their_case() {
        let exact = [
            (Train, ["train", "Training", "TRAIN", "train_1"].as_slice()),
            (Validation, &["val", "Valid", "validation", "DEV", "Val-0"]),
            (Test, &["test", "Testing", "eval", "Evaluation", "test2"]),
        ];
        for (split, names) in exact {
            for name in names {
                assert_eq!(Naming::of(name), Some(Exact(split)), "{name}");
            }
        }
        assert_eq!(Naming::of("seg_train"), Some(Among(Train)));
        assert_eq!(Naming::of("images.TEST"), Some(Among(Test)));
        assert_eq!(Naming::of("my-dev set"), Some(Among(Validation)));
    }

    #[test]
    fn words_within_words_and_contradictions_say_nothing() {
        for name in ["trainer", "contest", "device", "evaluate", "valley", "cat", "", "42", "train_test"] {
            assert_eq!(Naming::of(name), None, "{name}");
        }
    }
}
