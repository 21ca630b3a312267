//! One of a few words, as people write it.

/// The word of `words` that `text` means: itself, else the only one that is the same but for case and for `-` or `_`.
pub fn meant<'w>(words: impl IntoIterator<Item = &'w str>, text: &str) -> Option<&'w str> {
    let mut alike = Vec::new();
    for word in words {
        if word == text {
            return Some(word);
        }
        if folded(word) == folded(text) {
            alike.push(word);
        }
    }
    match alike[..] {
        [only] => Some(only),
        _ => None,
    }
}

fn folded(text: &str) -> String {
    text.trim().to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_hyphens_make_no_other_word_unless_two_would_collide() {
        let words = ["crop_flip", "none", "a_b", "a-b"];
        assert_eq!(meant(words, "Crop-Flip"), Some("crop_flip"));
        assert_eq!(meant(words, " NONE "), Some("none"));
        assert_eq!(
            [meant(words, "a-b"), meant(words, "A-B"), meant(words, "cropflip")],
            [Some("a-b"), None, None]
        );
    }
}
