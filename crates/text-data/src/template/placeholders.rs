//! Placeholders of other languages in a prompt template, which Jinja leaves as they stand.

/// Words for a record's fields, in any case.
const FIELDS: [&str; 14] = [
    "instruction",
    "input",
    "output",
    "prompt",
    "question",
    "query",
    "response",
    "answer",
    "completion",
    "text",
    "context",
    "message",
    "content",
    "user",
];

/// What is wrong with the template `source`: it gives every record the same prompt, or it holds a placeholder for a
/// field beside its expressions.
pub(super) fn fault(source: &str, is_the_same_for_all: bool) -> Option<String> {
    let text = outside_of_jinja(source);
    let placeholder = find(&text, is_the_same_for_all);
    let found = placeholder
        .map(|(placeholder, style)| format!("`{placeholder}` is {style}, which Jinja leaves as it stands"));
    match (is_the_same_for_all, found) {
        (false, found) => found,
        (true, found) => {
            let same = "the prompt template gives every record the same prompt, because it has no expression over \
                        `instruction` or `input`";
            Some(found.map_or_else(|| same.to_owned(), |found| format!("{same}; {found}")))
        }
    }
}

/// The first placeholder and the name of its style. With `any`, those count too that may be meant as text where
/// there is an expression: `{}`, `%s`, `<instruction>`, `[INPUT]`.
fn find(text: &str, any: bool) -> Option<(String, &'static str)> {
    let named = [
        ("${", "}", "a placeholder of a shell"),
        ("{", "}", "a placeholder of Python's format"),
        ("%(", ")s", "a placeholder of Python's %"),
    ];
    let bracketed = [("<", ">", "a placeholder in angle brackets"), ("[", "]", "a placeholder in brackets")];
    let wanted = named.iter().chain(bracketed.iter().filter(|_| any));
    for &(open, close, style) in wanted {
        for (at, _) in text.match_indices(open) {
            let Some(length) = text[at + open.len()..].find(close) else { continue };
            let inside = &text[at + open.len()..at + open.len() + length];
            let is_position = any && open == "{" && inside.bytes().all(|byte| byte.is_ascii_digit());
            // A format may follow the name: `{instruction:>10}`, `{record[instruction]}`.
            let name = inside.split([':', '!', '[', '.']).next().unwrap_or_default();
            if is_position
                || is_field(name.trim())
                || (any && inside.split(['[', ']', '\'', '"', '.']).any(is_field))
            {
                return Some((format!("{open}{inside}{close}"), style));
            }
        }
    }
    for (at, _) in text.match_indices('$') {
        let name = text[at + 1..].split(|letter: char| !letter.is_alphanumeric() && letter != '_').next();
        if let Some(name) = name.filter(|name| is_field(name)) {
            return Some((format!("${name}"), "a placeholder of a shell"));
        }
    }
    (any && text.contains("%s")).then(|| ("%s".to_owned(), "a placeholder of Python's %"))
}

fn is_field(word: &str) -> bool {
    FIELDS.iter().any(|field| field.eq_ignore_ascii_case(word))
}

/// The template's text without Jinja's expressions, blocks and comments.
fn outside_of_jinja(source: &str) -> String {
    let (mut text, mut rest) = (String::new(), source);
    while let Some((at, close)) = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
        .into_iter()
        .filter_map(|(open, close)| Some((rest.find(open)?, close)))
        .min()
    {
        text.push_str(&rest[..at]);
        rest = rest[at + 2..].find(close).map_or("", |end| &rest[at + 2 + end + 2..]);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_that_was_found_is_named() {
        for (source, placeholder, style) in [
            ("### Q: {instruction} {input}\n### A:", "`{instruction}`", "Python's format"),
            ("{INPUT}\n>>> {OUTPUT}", "`{INPUT}`", "Python's format"),
            ("### Q: {}\n### A: {}", "`{}`", "Python's format"),
            ("Q: {0}", "`{0}`", "Python's format"),
            ("{row['instruction']}", "`{row['instruction']}`", "Python's format"),
            ("### Q: $instruction\n### A:", "`$instruction`", "a shell"),
            ("${prompt}", "`${prompt}`", "a shell"),
            ("Q: %s", "`%s`", "Python's %"),
            ("Q: %(question)s", "`%(question)s`", "Python's %"),
            ("[INSTRUCTION]", "`[INSTRUCTION]`", "in brackets"),
            ("<prompt>", "`<prompt>`", "angle brackets"),
        ] {
            let found = fault(source, true).unwrap();
            assert!(
                found.contains("same prompt") && found.contains(placeholder) && found.contains(style),
                "{found}"
            );
        }
        assert!(fault("Answer:", true).unwrap().ends_with("`instruction` or `input`"));
    }

    #[test]
    fn beside_expressions_only_what_cannot_be_meant_is_refused() {
        for source in
            ["{{ instruction }} {input}", "{{ instruction }}\n$input", "{{ instruction }} %(input)s"]
        {
            assert!(fault(source, false).unwrap().contains("leaves as it stands"), "{source}");
        }
        for source in [
            "{{ instruction }}",
            "<instruction>{{ instruction }}</instruction> [INST] costs $5 {} %s",
            "{# {input} #}{% if input %}{{ input }}{% endif %}{{ instruction }} {\"json\": 1}",
        ] {
            assert_eq!(fault(source, false), None, "{source}");
        }
    }
}
