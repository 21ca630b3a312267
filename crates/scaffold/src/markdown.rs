//! Escaping of text in Markdown.

/// `text` on one line, with everything escaped that Markdown, HTML or the Hub's formulas would read.
pub(crate) fn inline(text: &str) -> String {
    let text = text.trim();
    let mut escaped = String::with_capacity(text.len());
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_word = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
        match character {
            breaking if breaking.is_control() || matches!(breaking, '\u{2028}' | '\u{2029}') => {
                escaped.push(' ');
            }
            '&' => escaped.push_str("&amp;"),
            // Within a word it is no emphasis.
            '_' if is_word(before) && is_word(characters.peek().copied()) => escaped.push('_'),
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '$' | '_' => {
                escaped.extend(['\\', character]);
            }
            // Where a line begins with them they are lists, rules or underlines of headings.
            '-' | '+' | '=' if before.is_none() => escaped.extend(['\\', character]),
            '.' | ')' if is_number(&escaped) && characters.peek().is_none_or(|next| next.is_whitespace()) => {
                escaped.extend(['\\', character]);
            }
            plain => escaped.push(plain),
        }
        before = Some(character);
    }
    escaped
}

/// A number of a list's item has nine digits at most (CommonMark 0.31, section 5.2).
fn is_number(text: &str) -> bool {
    (1..10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `text` on one line as code.
pub(crate) fn code_span(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let ticks = "`".repeat(longest_run_of_ticks(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// `text` as a block of code in `language`.
pub(crate) fn code_block(text: &str, language: &str) -> String {
    let fence = "`".repeat((longest_run_of_ticks(text) + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}", text.trim_end())
}

fn longest_run_of_ticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_read() {
        assert_eq!(inline(" a\n# <b> [x](y) & `c` "), r"a \# \<b\> \[x\](y) &amp; \`c\`");
        assert_eq!(inline("- a_b _c_ ![d](e) $f$ | g"), r"\- a_b \_c\_ !\[d\](e) \$f\$ \| g");
        assert_eq!(inline("1. not a list"), r"1\. not a list");
        assert_eq!(inline("12) neither"), r"12\) neither");
    }

    #[test]
    fn figures_stay_readable() {
        for figure in ["97.31 %", "0.512 g", "[no", "2026-11-26", "q_proj, v_proj"] {
            assert_eq!(inline(figure).replace('\\', ""), figure);
        }
        assert_eq!(inline("97.31 %"), r"97.31 %");
    }

    #[test]
    fn code_cannot_end_early() {
        assert_eq!(code_span("a`b"), "``a`b``");
        assert_eq!(code_span("`a"), "`` `a ``");
        assert_eq!(code_block("x\n```\ny\n", "toml"), "````toml\nx\n```\ny\n````");
    }
}
