//! Text as Python sees it, because the peers whose figures are matched are written in it.

/// Whether `str.isspace` says so: what Unicode calls white space, and four separators.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `str.split()`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}
