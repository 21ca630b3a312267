//! How the weights of an export are stored.

use std::{fmt, str::FromStr};

use greentune_core_config::choice;
use greentune_model_folder::FloatType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ExportError;

// In a type with `_m` some tensors keep more bits than others, as in llama.cpp's.
/// Type of merged weights: f32, f16, bf16 in any format, 8bit and 4bit in mlx, the others in gguf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Quantization {
    /// 32-bit floats.
    #[serde(rename = "f32")]
    F32,
    /// IEEE half precision, 16 bits.
    #[serde(rename = "f16")]
    F16,
    /// The upper half of a 32-bit float, 16 bits.
    #[serde(rename = "bf16")]
    Bf16,
    /// About 8.5 bits a weight.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// About 6.6 bits a weight.
    #[serde(rename = "q6_k")]
    Q6K,
    /// About 5.7 bits a weight.
    #[serde(rename = "q5_k_m")]
    Q5KM,
    /// About 4.8 bits a weight.
    #[serde(rename = "q4_k_m")]
    Q4KM,
    /// About 4.5 bits a weight.
    #[serde(rename = "q4_0")]
    Q4_0,
    /// 8 bits a weight, and scale and bias of each 64 (MLX).
    #[serde(rename = "8bit")]
    Bits8,
    /// 4 bits a weight, and scale and bias of each 64 (MLX).
    #[serde(rename = "4bit")]
    Bits4,
}

impl Quantization {
    /// All of them: what every format has, then GGUF's from the most exact to the smallest, then MLX's.
    pub const ALL: [Self; 10] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q6K,
        Self::Q5KM,
        Self::Q4KM,
        Self::Q4_0,
        Self::Bits8,
        Self::Bits4,
    ];

    /// Types of floats.
    pub(crate) const FLOATS: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Other names of the types of floats, as PyTorch has them.
    const LONG_NAMES: [(&'static str, Self); 4] =
        [("float32", Self::F32), ("float16", Self::F16), ("half", Self::F16), ("bfloat16", Self::Bf16)];

    /// Whether every weight is a float of its own.
    pub const fn is_float(self) -> bool {
        self.float().is_some()
    }

    /// The type of floats that it is.
    pub(crate) const fn float(self) -> Option<FloatType> {
        match self {
            Self::F32 => Some(FloatType::F32),
            Self::F16 => Some(FloatType::F16),
            Self::Bf16 => Some(FloatType::Bf16),
            _ => None,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q6K => "q6_k",
            Self::Q5KM => "q5_k_m",
            Self::Q4KM => "q4_k_m",
            Self::Q4_0 => "q4_0",
            Self::Bits8 => "8bit",
            Self::Bits4 => "4bit",
        }
    }

    /// The words for all of them, in a sentence.
    pub fn words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Quantization {
    type Err = ExportError;

    fn from_str(word: &str) -> Result<Self, ExportError> {
        let words = Self::ALL.map(|quantization| (quantization.as_str(), quantization));
        let known: Vec<(&str, Self)> = words.into_iter().chain(Self::LONG_NAMES).collect();
        let meant = choice::meant(known.iter().map(|(word, _)| *word), word);
        let found = known.iter().find(|(word, _)| Some(*word) == meant);
        found
            .map(|(_, quantization)| *quantization)
            .ok_or_else(|| ExportError::UnknownQuantization { word: word.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written_and_as_other_programs_write_them() {
        for quantization in Quantization::ALL {
            assert_eq!(quantization.as_str().parse::<Quantization>().unwrap(), quantization);
            assert_eq!(serde_json::to_value(quantization).unwrap(), quantization.as_str());
            assert_eq!(quantization.as_str().to_uppercase().parse::<Quantization>().unwrap(), quantization);
        }
        for (name, quantization) in Quantization::LONG_NAMES {
            assert_eq!(name.parse::<Quantization>().unwrap(), quantization);
        }
        let error = "q3_k_m".parse::<Quantization>().unwrap_err().to_string();
        assert!(
            error.contains("q3_k_m") && error.contains("f32, f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m, q4_0")
        );
    }
}
