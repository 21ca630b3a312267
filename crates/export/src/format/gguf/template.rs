//! What of a chat template llama.cpp's own template engine does not know.
//!
//! The names are those of `common/jinja` in llama.cpp of September 2026 (`parser.cpp`, `runtime.cpp`, `value.cpp`). A
//! construct is found where it is written; whether a conversation ever reaches it is not asked.

use std::collections::BTreeSet;

const STATEMENTS: [&str; 18] = [
    "set",
    "endset",
    "if",
    "elif",
    "else",
    "endif",
    "for",
    "endfor",
    "break",
    "continue",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "generation",
    "endgeneration",
];

const FILTERS: [&str; 44] = [
    "abs",
    "append",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "endswith",
    "first",
    "float",
    "format",
    "get",
    "indent",
    "int",
    "items",
    "join",
    "keys",
    "last",
    "length",
    "list",
    "lower",
    "lstrip",
    "map",
    "max",
    "min",
    "pop",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "rstrip",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "startswith",
    "string",
    "strip",
    "title",
    "tojson",
    "trim",
    "upper",
];

const TESTS: [&str; 30] = [
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// The statements, filters and tests of `template` that llama.cpp refuses, as a person reads them: "the filter `groupby`".
pub(super) fn unknown_to_llama_cpp(template: &str) -> BTreeSet<String> {
    let mut unknown = BTreeSet::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        rest = &rest[start + 1..];
        let Some(kind) = rest.chars().next().filter(|kind| "{%#".contains(*kind)) else { continue };
        rest = &rest[1..];
        if kind == '#' {
            rest = rest.find("#}").map_or("", |end| &rest[end + 2..]);
            continue;
        }
        let (words, behind) = words(rest, if kind == '%' { "%}" } else { "}}" });
        rest = behind;
        let is_statement = kind == '%';
        if let Some(statement) = words.first().filter(|word| is_statement && !STATEMENTS.contains(word)) {
            unknown.insert(format!("the statement `{statement}`"));
        }
        for (index, word) in words.iter().enumerate() {
            let next = words.get(index + 1).copied().unwrap_or_default();
            let filter = *word == "|" || is_statement && index == 0 && *word == "filter";
            if filter && is_name(next) && !FILTERS.contains(&next) {
                unknown.insert(format!("the filter `{next}`"));
            }
            let test = if next == "not" { words.get(index + 2).copied().unwrap_or_default() } else { next };
            if *word == "is" && is_name(test) && !TESTS.contains(&test) {
                unknown.insert(format!("the test `{test}`"));
            }
        }
    }
    unknown
}

/// The names and signs of a tag up to its `end`, without its texts, and what stands behind the tag.
fn words<'a>(tag: &'a str, end: &str) -> (Vec<&'a str>, &'a str) {
    let mut words = Vec::new();
    let mut rest = tag.strip_prefix(['-', '+']).unwrap_or(tag);
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return (words, "") };
        if let Some(behind) = rest.strip_prefix(end) {
            return (words, behind);
        }
        let length = match first {
            '"' | '\'' => {
                rest = behind_text(&rest[1..], first);
                continue;
            }
            first if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        words.push(&rest[..length]);
        rest = &rest[length..];
    }
}

/// What stands behind a text that `quote` ends.
fn behind_text(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return &text[index + 1..],
            _ => {}
        }
    }
    ""
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(template: &str) -> Vec<String> {
        unknown_to_llama_cpp(template).into_iter().collect()
    }

    #[test]
    fn what_templates_usually_have_is_known() {
        let template = "{%- for message in messages if message['role'] is not none -%}{# {% import x %} #}\
            {{- '<|im_start|>' + message.role | trim + ' {% include %} | groupby' }}{%- endfor %}\
            {% if add_generation_prompt is defined and tools | length > 0 %}{{ tools | tojson(indent=4) }}{% endif %}\
            {% set ns = namespace(x=\"it\\\"s | no_filter\") %}{% generation %}{{ {'a': 1}.items() }}{% endgeneration %}";
        assert_eq!(unknown(template), Vec::<String>::new());
    }

    #[test]
    fn what_llama_cpp_does_not_know_is_named_once() {
        let template = "{% include 'x' %}{{ a | groupby('role') | groupby('b') }}{% if x is not ascii %}{% endif %}\
            {% filter escape %}{% endfilter %}";
        assert_eq!(
            unknown(template),
            ["the filter `escape`", "the filter `groupby`", "the statement `include`", "the test `ascii`"]
        );
    }

    #[test]
    fn a_template_that_ends_early_is_read_to_its_end() {
        for template in ["{", "{{", "{% if", "{{ 'text", "{# note", "{{ 'a\\", "ä{{ö", "{%-"] {
            unknown_to_llama_cpp(template);
        }
    }
}
