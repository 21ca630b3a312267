//! Answers that are JSON objects, field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

/// What a generated text got right of a reference that is a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structured {
    /// Whether the text is JSON.
    pub parses: bool,
    /// Whether it is the same object, with no field more or less.
    pub equal: bool,
    /// Each field of the reference, and whether the text has the same value there.
    pub fields: BTreeMap<String, bool>,
}

impl Structured {
    /// Compares; `None` where the reference is no JSON object with fields.
    ///
    /// The whole text must be JSON: words around it or a code fence make it none, as they do for a program that reads
    /// it. Fields of the first level are compared. Numbers are compared by value (1 is 1.0), objects without their
    /// order, lists with it.
    pub fn of(generated: &str, reference: &str) -> Option<Self> {
        let reference: Map<String, Value> = serde_json::from_str(reference).ok()?;
        if reference.is_empty() {
            return None;
        }
        let generated: Option<Value> = serde_json::from_str(generated).ok();
        let has = |(name, value): (&String, &Value)| {
            let found = generated.as_ref().and_then(|generated| generated.get(name));
            (name.clone(), found.is_some_and(|found| same(found, value)))
        };
        let fields: BTreeMap<_, _> = reference.iter().map(has).collect();
        let length = generated.as_ref().and_then(Value::as_object).map(Map::len);
        Some(Self {
            parses: generated.is_some(),
            equal: length == Some(reference.len()) && fields.values().all(|equal| *equal),
            fields,
        })
    }

    /// Fields that are right, and fields in all.
    pub fn counts(&self) -> FieldCounts {
        let right = self.fields.values().filter(|equal| **equal).count() as u64;
        FieldCounts { right, all: self.fields.len() as u64 }
    }
}

/// Fields that are right, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldCounts {
    /// Fields with the reference's value.
    pub right: u64,
    /// Fields of the references.
    pub all: u64,
}

impl FieldCounts {
    /// The share that is right, in `[0, 1]`; 0 of none.
    pub fn share(&self) -> f64 {
        self.right as f64 / self.all.max(1) as f64
    }
}

impl std::iter::Sum for FieldCounts {
    fn sum<I: Iterator<Item = Self>>(records: I) -> Self {
        records.fold(Self::default(), |sum, record| Self {
            right: sum.right + record.right,
            all: sum.all + record.all,
        })
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Integers exactly, others as the nearest number of double precision.
fn same_number(a: &Number, b: &Number) -> bool {
    a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(generated: &str) -> (bool, bool, Vec<bool>) {
        let reference = r#"{"name":"Ana","age":41,"tags":["a","b"],"home":{"x":1.50,"y":null}}"#;
        let found = Structured::of(generated, reference).unwrap();
        (found.parses, found.equal, found.fields.into_values().collect())
    }

    #[test]
    fn values_count_and_not_how_they_are_written() {
        // Fields in the order of their names: age, home, name, tags.
        let other = "{ \"home\": {\"y\": null, \"x\": 1.5}, \"age\": 41.0,\n\"tags\":[\"a\",\"b\"],\"name\":\"\\u0041na\" }";
        assert_eq!(fields(other), (true, true, vec![true; 4]));
    }

    #[test]
    fn each_field_is_judged_alone() {
        let wrong = r#"{"name":"ana","age":"41","tags":["b","a"],"home":{"x":1.5,"y":null},"more":1}"#;
        assert_eq!(fields(wrong), (true, false, vec![false, true, false, false]));
        assert_eq!(fields("[1]"), (true, false, vec![false; 4]));
        assert_eq!(fields("{\"name\": \"Ana\""), (false, false, vec![false; 4]));
        assert_eq!(fields("```json\n{}\n```"), (false, false, vec![false; 4]));
        let more = r#"{"name":"Ana","age":41,"tags":["a","b"],"home":{"x":1.5,"y":null},"more":1}"#;
        assert_eq!(fields(more), (true, false, vec![true; 4]), "a field more is no equal object");
    }

    #[test]
    fn large_integers_are_not_rounded() {
        let found = Structured::of(r#"{"id":9007199254740993}"#, r#"{"id":9007199254740992}"#).unwrap();
        assert!(!found.equal);
    }

    #[test]
    fn a_reference_that_is_no_object_is_not_structured() {
        for reference in ["", "plain words", "[1]", "7", "{}"] {
            assert_eq!(Structured::of("{}", reference), None, "{reference}");
        }
    }
}
