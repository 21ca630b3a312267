use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Accounting, Progress, SelectionError};

/// The state of a selector, for a checkpoint: numbers by name, and arrays of finite `f32` by name, which may be kept
/// beside it as tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name of the policy.
    pub policy: String,
    /// Number of samples.
    pub samples: usize,
    /// The epoch that was begun, where one was.
    pub progress: Option<Progress>,
    /// What was counted.
    pub accounting: Accounting,
    /// Single numbers.
    pub numbers: BTreeMap<String, f64>,
    /// Numbers per sample, or of a window.
    pub arrays: BTreeMap<String, Vec<f32>>,
}

impl Snapshot {
    /// Adds a number.
    pub fn put(&mut self, name: &str, value: f64) {
        self.numbers.insert(name.to_owned(), value);
    }

    /// Adds an array.
    pub fn put_array(&mut self, name: &str, values: impl IntoIterator<Item = f32>) {
        self.arrays.insert(name.to_owned(), values.into_iter().collect());
    }

    /// The number called `name`, which must be there and finite.
    pub fn number(&self, name: &str) -> Result<f64, SelectionError> {
        match self.numbers.get(name) {
            Some(&value) if value.is_finite() => Ok(value),
            Some(value) => Err(snapshot_error(&format!("{name} = {value}"), "a finite number")),
            None => Err(snapshot_error(&format!("no number {name}"), "one")),
        }
    }

    /// The array called `name`, which must be there, with `length` finite numbers.
    pub fn array(&self, name: &str, length: usize) -> Result<&[f32], SelectionError> {
        let values = self.window(name)?;
        if values.len() != length {
            return Err(snapshot_error(&format!("{} numbers in {name}", values.len()), &length.to_string()));
        }
        Ok(values)
    }

    /// The array called `name` of any length, which must be there, with finite numbers.
    pub fn window(&self, name: &str) -> Result<&[f32], SelectionError> {
        let values =
            self.arrays.get(name).ok_or_else(|| snapshot_error(&format!("no array {name}"), "one"))?;
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(snapshot_error(&format!("{value} in {name}"), "a finite number")),
            None => Ok(values),
        }
    }
}

/// `found`, where `needed` is needed.
pub(crate) fn snapshot_error(found: &str, needed: &str) -> SelectionError {
    SelectionError::Snapshot { found: found.to_owned(), needed: needed.to_owned() }
}
