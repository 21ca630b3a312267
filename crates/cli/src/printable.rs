//! Text of files, servers and models on its way to a terminal.

use std::{borrow::Cow, fmt::Write as _};

/// `text` without characters that a terminal obeys instead of showing them: control characters other than tab and line
/// break, characters that turn the direction of writing, and invisible tags. Each is shown as its number, such as
/// `\u{1b}`. Of escape sequences those in `own` stay, which greentune itself writes.
pub fn printable<'a>(text: &'a str, own: &[&str]) -> Cow<'a, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(is_obeyed) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(sequence) = own.iter().find(|sequence| rest.starts_with(**sequence)) {
            shown.push_str(sequence);
            rest = &rest[sequence.len()..];
        } else if rest.starts_with("\r\n") {
            rest = &rest[1..];
        } else if let Some(character) = rest.chars().next() {
            let _ = write!(shown, "{}", character.escape_unicode());
            rest = &rest[character.len_utf8()..];
        }
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

fn is_obeyed(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // Marks, embeddings, overrides and isolates of UAX #9, and the tags of the Unicode block of that name.
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_its_number() {
        for (text, shown) in [
            ("plain\ttext\nin two lines, zwölf", "plain\ttext\nin two lines, zwölf"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{1b}[2J\u{9b}31m", "\\u{1b}[2J\\u{9b}31m"),
            ("over\rwritten\u{8}\u{7f}\0", "over\\u{d}written\\u{8}\\u{7f}\\u{0}"),
            ("line\r\nline", "line\nline"),
            ("admin\u{202e}txt.exe\u{2066}", "admin\\u{202e}txt.exe\\u{2066}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(text, &[]), shown);
        }
    }

    #[test]
    fn own_sequences_stay_and_no_others() {
        let own = ["\u{1b}[32m", "\u{1b}[0m"];
        assert_eq!(printable("\u{1b}[32myes\u{1b}[0m", &own), "\u{1b}[32myes\u{1b}[0m");
        assert_eq!(printable("\u{1b}[8mhidden\u{1b}[0m", &own), "\\u{1b}[8mhidden\u{1b}[0m");
    }
}
