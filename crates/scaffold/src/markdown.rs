//! Text that means nothing but itself in Markdown.

/// `text` on one line, with everything escaped that Markdown or HTML would read.
pub(crate) fn inline(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            control if control.is_control() => escaped.push(' '),
            '&' => escaped.push_str("&amp;"),
            special if special.is_ascii_punctuation() => escaped.extend(['\\', special]),
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_read() {
        assert_eq!(inline(" a\n# <b> [x](y) & `c` "), r"a \# \<b\> \[x\]\(y\) &amp; \`c\`");
    }
}
