//! What a setting may be, beyond its type: one table.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use serde_json::Value;

use super::{
    key::{KeyDoc, KeyType},
    registry::registry,
};
use crate::{
    choice, country,
    ids::nearest,
    settings::{LORA_WORDS, METRICS, Settings, VISION_MODELS},
};

/// What a value may be, beyond its type.
enum Limit {
    /// A number in this range.
    Range(Bound<f64>, Bound<f64>),
    /// Text that is not empty.
    NotEmpty,
    /// A country's code of three letters; one of two is read as that.
    CountryCode,
    /// Three capital letters: a currency.
    CurrencyCode,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Some of these words, each at most once.
    SomeOf(&'static [&'static str]),
    /// One or more of these words, each at most once.
    OneOrMoreOf(&'static [&'static str]),
}

use Limit::{CountryCode, CurrencyCode, NotEmpty, OneOf, OneOrMoreOf, Range, SomeOf};

/// The greatest number of a setting that has no limit by its meaning. Products of a few such numbers are finite.
const MOST: f64 = 1e9;
const AT_LEAST_1: Limit = Range(Included(1.0), Included(MOST));
/// Counts, of which products are worked out: of the steps of a stage and the records of a step, below 2^64.
const STEPS: Limit = Range(Included(1.0), Included(MOST));
const BATCH: Limit = Range(Included(1.0), Included(1e5));
const NOT_NEGATIVE: Limit = Range(Included(0.0), Included(MOST));
const POSITIVE: Limit = Range(Excluded(0.0), Included(MOST));
const SHARE: Limit = Range(Included(0.0), Included(1.0));
const POSITIVE_SHARE: Limit = Range(Excluded(0.0), Included(1.0));
const SHARE_BELOW_1: Limit = Range(Included(0.0), Excluded(1.0));

/// The limits of each setting; a key that is not here may be anything of its type (an integer: from 0).
const LIMITS: &[(&str, Limit)] = &[
    ("project.name", NotEmpty),
    ("base_model.revision", NotEmpty),
    ("training.num_stages", Range(Included(1.0), Included(2.0))),
    ("training.quality_weight_multiplier", AT_LEAST_1),
    ("training.save_steps", AT_LEAST_1),
    ("training.eval_steps", AT_LEAST_1),
    ("training.keep_checkpoints", AT_LEAST_1),
    ("training.max_seq_length", Range(Included(8.0), Included(1e9))),
    ("training.max_grad_norm", NOT_NEGATIVE),
    ("training.weight_decay", NOT_NEGATIVE),
    ("training.stage1.iterations", STEPS),
    ("training.stage1.learning_rate", POSITIVE_SHARE),
    ("training.stage1.warmup_steps", NOT_NEGATIVE),
    ("training.stage1.batch_size", BATCH),
    ("training.stage1.gradient_accumulation", BATCH),
    ("training.stage2.iterations", STEPS),
    ("training.stage2.learning_rate", POSITIVE_SHARE),
    ("training.stage2.warmup_steps", NOT_NEGATIVE),
    ("training.stage2.batch_size", BATCH),
    ("training.stage2.gradient_accumulation", BATCH),
    ("training.stage2.replay_ratio", SHARE_BELOW_1),
    ("lora.rank", Range(Included(1.0), Included(1024.0))),
    ("lora.alpha", POSITIVE),
    ("lora.dropout", SHARE_BELOW_1),
    ("lora.target_modules", OneOrMoreOf(LORA_WORDS)),
    ("lora.loraplus_lr_ratio", AT_LEAST_1),
    ("dataset.instruction_field", NotEmpty),
    ("dataset.input_field", NotEmpty),
    ("dataset.output_field", NotEmpty),
    ("dataset.quality_field", NotEmpty),
    ("dataset.metadata_field", NotEmpty),
    ("dataset.train_split", SHARE),
    ("dataset.validation_split", SHARE),
    ("dataset.test_split", SHARE),
    ("vision.model", OneOf(VISION_MODELS)),
    ("vision.image_size", Range(Included(8.0), Included(1024.0))),
    ("vision.epochs", STEPS),
    ("vision.batch_size", Range(Included(2.0), Included(1e5))),
    ("vision.learning_rate", POSITIVE),
    ("vision.momentum", SHARE_BELOW_1),
    ("vision.weight_decay", NOT_NEGATIVE),
    ("vision.label_smoothing", SHARE_BELOW_1),
    ("vision.mixup_alpha", NOT_NEGATIVE),
    ("vision.validation_share", Range(Excluded(0.0), Excluded(1.0))),
    ("vision.loader_threads", Range(Included(1.0), Included(256.0))),
    ("ast.target_activation_rate", POSITIVE_SHARE),
    ("ast.entropy_weight", SHARE),
    ("ast.warmup_epochs", NOT_NEGATIVE),
    ("ast.max_score_age", Range(Included(1.0), Unbounded)),
    ("ast.annealing_share", SHARE_BELOW_1),
    ("carbon.country_iso_code", CountryCode),
    ("carbon.measure_interval_seconds", Range(Included(0.1), Included(60.0))),
    ("carbon.pue", AT_LEAST_1),
    ("carbon.electricity_price_per_kwh", NOT_NEGATIVE),
    ("carbon.electricity_currency", CurrencyCode),
    ("carbon.cloud_region", NotEmpty),
    ("carbon.budget_kg", POSITIVE),
    ("carbon.budget_kwh", POSITIVE),
    ("carbon.alerts.high_emissions_kg", NOT_NEGATIVE),
    ("carbon.alerts.high_emissions_per_hour_kg", NOT_NEGATIVE),
    ("mlflow.tracking_uri", NotEmpty),
    ("evaluation.metrics", SomeOf(METRICS)),
    ("evaluation.generate_records", NOT_NEGATIVE),
    ("evaluation.stage1_threshold", SHARE),
    ("evaluation.stage2_threshold", SHARE),
    ("evaluation.sequential_threshold", SHARE),
    ("evaluation.thresholds.perplexity", AT_LEAST_1),
    ("evaluation.thresholds.exact_match", SHARE),
    ("evaluation.thresholds.bleu", SHARE),
    ("evaluation.thresholds.chrf", SHARE),
    ("evaluation.thresholds.rouge_l", SHARE),
    ("evaluation.thresholds.json_parsed", SHARE),
    ("evaluation.thresholds.json_equal", SHARE),
    ("evaluation.thresholds.field_accuracy", SHARE),
];

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not of the key's type.
    WrongType,
    /// It has the key's type and is out of range.
    OutOfRange,
}

impl Fault {
    /// The problem's code.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::WrongType => "config.wrong_type",
            Self::OutOfRange => "config.out_of_range",
        }
    }
}

/// What is wrong with the first number or list of `settings` that no configuration can have, in words. Settings that stand
/// in a file of their own, such as a run's record, are held to the limits too: counts are multiplied all over.
pub fn beyond_limits(settings: &Settings) -> Option<String> {
    let settings = serde_json::to_value(settings).unwrap_or_default();
    let value_of = |key: &str| key.split('.').fold(&settings, |section, name| &section[name]);
    let beyond_toml = registry().iter().find(|doc| !is_toml(value_of(&doc.key)));
    if let Some(KeyDoc { key, .. }) = beyond_toml {
        return Some(format!("{key} is {}; allowed: an integer of at most {}", value_of(key), i64::MAX));
    }
    LIMITS.iter().find_map(|(key, limit)| {
        let value = value_of(key);
        let allowed = match limit {
            Range(low, high) if !within(low, high, value.as_f64()?) => {
                format!("a number {}", range(low, high))
            }
            SomeOf(words) if !some_of(words, value) => format!("a list of {}, each at most once", or(words)),
            OneOrMoreOf(words) if !some_of(words, value) => {
                format!("a list of {}, each once", words.join(", "))
            }
            _ => return None,
        };
        Some(format!("{key} is {value}; allowed: {allowed}"))
    })
}

/// Whether a configuration file can hold `value`: TOML has integers below 2^63.
fn is_toml(value: &Value) -> bool {
    !value.is_u64() || value.is_i64()
}

fn within(low: &Bound<f64>, high: &Bound<f64>, number: f64) -> bool {
    std::ops::RangeBounds::contains(&(*low, *high), &number)
}

/// `value` in the form in which the settings take it, or why it is refused.
pub(super) fn check(doc: &KeyDoc, value: Value) -> Result<Value, Fault> {
    if doc.optional && (value.is_null() || value == "") {
        return Ok(Value::Null);
    }
    let value = canonical(doc, typed(&doc.kind, value).ok_or(Fault::WrongType)?);
    if allows(doc, &value) { Ok(value) } else { Err(Fault::OutOfRange) }
}

/// `value` as it is kept: words as they are listed, whatever case and hyphens they were written with, and a country by its
/// code of three letters.
fn canonical(doc: &KeyDoc, value: Value) -> Value {
    let word = |text: &str| words(doc).and_then(|words| choice::meant(words, text)).map(Value::from);
    match &value {
        Value::String(text) if matches!(limit(&doc.key), Some(CountryCode)) => country_code(text).into(),
        Value::String(text) => word(text).unwrap_or(value),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().and_then(word).unwrap_or_else(|| item.clone())).collect()
        }
        _ => value,
    }
}

/// The code of three letters, where `text` is one or has two.
fn country_code(text: &str) -> String {
    let three = || Some(text.trim().to_ascii_uppercase()).filter(|code| is_code(code));
    country::alpha3(text).map(str::to_owned).or_else(three).unwrap_or_else(|| text.to_owned())
}

fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase())
}

/// The words that a setting is one of, or some of.
fn words(doc: &KeyDoc) -> Option<Vec<&str>> {
    match (&doc.kind, limit(&doc.key)) {
        (KeyType::Word(words), _) => Some(words.iter().map(String::as_str).collect()),
        (_, Some(OneOf(words) | SomeOf(words) | OneOrMoreOf(words))) => Some(words.to_vec()),
        _ => None,
    }
}

/// What was meant by a value of `doc` that is refused, in words; none where nothing is alike.
pub(super) fn meant(doc: &KeyDoc, found: &Value) -> Option<String> {
    let text = found.as_str()?;
    let near: Vec<String> = match words(doc) {
        Some(words) => nearest(words, text).into_iter().map(str::to_owned).collect(),
        None if matches!(limit(&doc.key), Some(CountryCode)) => {
            country::nearest(text).iter().map(ToString::to_string).collect()
        }
        None => return None,
    };
    (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")))
}

/// What is allowed for `key`, in words.
pub(super) fn allowed(key: &str, kind: &KeyType, optional: bool) -> String {
    let base = match (kind, limit(key)) {
        (_, Some(OneOf(words))) => or(words),
        (_, Some(SomeOf(words))) => format!("a list of {}, each at most once", or(words)),
        (_, Some(OneOrMoreOf(words))) => format!("a list of one or more of {}, each once", words.join(", ")),
        (_, Some(CountryCode)) => {
            String::from("a country's code of three or two letters (ISO 3166-1), such as DEU or DE")
        }
        (_, Some(CurrencyCode)) => String::from("three capital letters (ISO 4217), such as EUR"),
        (_, Some(NotEmpty)) => String::from("text that is not empty"),
        (KeyType::Integer, Some(Range(low, high))) => format!("an integer {}", range(low, high)),
        (_, Some(Range(low, high))) => format!("a number {}", range(low, high)),
        (KeyType::Boolean, None) => String::from("true or false"),
        (KeyType::Integer, None) => String::from("an integer of at least 0"),
        (KeyType::Number, None) => String::from("a finite number"),
        (KeyType::Text, None) => String::from("text"),
        (KeyType::Word(words), None) => or(words),
        (KeyType::Texts, None) => String::from("a list of texts"),
    };
    if optional { format!("{base}, or empty for none") } else { base }
}

fn limit(key: &str) -> Option<&'static Limit> {
    LIMITS.iter().find(|(known, _)| *known == key).map(|(_, limit)| limit)
}

/// `value` as a value of `kind`; integers serve as numbers.
fn typed(kind: &KeyType, value: Value) -> Option<Value> {
    let fits = match kind {
        KeyType::Boolean => value.is_boolean(),
        KeyType::Integer => value.is_u64() || value.is_i64(),
        KeyType::Number => return value.as_f64().map(Value::from),
        KeyType::Text | KeyType::Word(_) => value.is_string(),
        KeyType::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
    };
    fits.then_some(value)
}

fn allows(doc: &KeyDoc, value: &Value) -> bool {
    if let KeyType::Word(words) = &doc.kind {
        return words.iter().any(|word| value == word);
    }
    if !is_toml(value) {
        return false;
    }
    match limit(&doc.key) {
        Some(Range(low, high)) => value.as_f64().is_some_and(|number| within(low, high, number)),
        Some(NotEmpty) => value.as_str().is_some_and(|text| !text.trim().is_empty()),
        Some(CountryCode | CurrencyCode) => value.as_str().is_some_and(is_code),
        Some(OneOf(words)) => words.iter().any(|word| value == word),
        Some(SomeOf(words)) => some_of(words, value),
        Some(OneOrMoreOf(words)) => some_of(words, value) && value != &Value::Array(Vec::new()),
        None => !(doc.kind == KeyType::Integer && value.is_i64() && !value.is_u64()),
    }
}

fn some_of(words: &[&str], value: &Value) -> bool {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let known = |item: &Value| item.as_str().is_some_and(|item| words.contains(&item));
    items.iter().enumerate().all(|(index, item)| known(item) && !items[..index].contains(item))
}

fn range(low: &Bound<f64>, high: &Bound<f64>) -> String {
    match (low, high) {
        (Included(low), Included(high)) => format!("from {low} to {high}"),
        (Included(low), Excluded(high)) => format!("of at least {low} and below {high}"),
        (Excluded(low), Included(high)) => format!("above {low} and at most {high}"),
        (Excluded(low), Excluded(high)) => format!("above {low} and below {high}"),
        (Included(low), Unbounded) => format!("of at least {low}"),
        (Excluded(low), Unbounded) => format!("above {low}"),
        (Unbounded, Included(high)) => format!("of at most {high}"),
        (Unbounded, Excluded(high)) => format!("below {high}"),
        (Unbounded, Unbounded) => String::from("of any size"),
    }
}

/// `a, b or c`.
fn or(words: &[impl AsRef<str>]) -> String {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::registry::find;

    #[test]
    fn every_limit_is_that_of_a_setting() {
        for (key, _) in LIMITS {
            assert!(find(key).is_some(), "{key}");
        }
    }

    #[test]
    fn numbers_beyond_their_limits_are_named() {
        let mut settings = Settings::default();
        assert_eq!(beyond_limits(&settings), None);
        settings.training.stage1.batch_size = 1 << 40;
        assert_eq!(
            beyond_limits(&settings).unwrap(),
            "training.stage1.batch_size is 1099511627776; allowed: a number from 1 to 100000"
        );
        // The model card writes settings as TOML.
        settings = Settings::default();
        settings.training.seed = 1 << 63;
        assert!(
            beyond_limits(&settings).unwrap().starts_with("training.seed is 9223372036854775808; allowed")
        );
        let seed = find("training.seed").unwrap();
        assert_eq!(check(seed, Value::from(1_u64 << 63)), Err(Fault::OutOfRange));
        assert!(check(seed, Value::from(i64::MAX)).is_ok());
    }

    #[test]
    fn every_default_is_allowed() {
        for doc in registry() {
            assert_eq!(check(doc, doc.default.clone()), Ok(doc.default.clone()), "{}", doc.key);
        }
    }
}
