//! Mean and standard deviation per channel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What values become: `(value / 255 − mean) / std`, per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Per channel, in units of the full range.
    pub mean: Vec<f64>,
    /// Per channel, in units of the full range; above 0.
    pub std: Vec<f64>,
}

impl Normalisation {
    /// Values from 0 to 1.
    pub fn none(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// Those of ImageNet, which pretrained models on it expect (torchvision's `IMAGENET1K_V1` weights).
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }
}
