//! How large a file of weights may get.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ExportError;

const UNITS: [(&str, u64); 8] = [
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Bytes of tensors that a file holds at most; a larger tensor gets a file of its own. Written as transformers writes it,
/// such as `5GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ShardSize(u64);

impl ShardSize {
    /// A size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// A size of `gibibytes`.
    pub(crate) const fn of_gibibytes(gibibytes: u64) -> Self {
        Self(gibibytes << 30)
    }
}

impl fmt::Display for ShardSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            UNITS.iter().filter(|(_, bytes)| self.0.is_multiple_of(*bytes)).max_by_key(|(_, bytes)| bytes);
        match unit {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ShardSize {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        let wrong = || ExportError::WrongShardSize { text: text.into() };
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..end], trimmed[end..].trim());
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let of_unit = match unit {
            "" | "B" | "b" => Some(1),
            unit => {
                let known = UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit));
                known.map(|(_, bytes)| *bytes)
            }
        };
        let bytes = number * of_unit.ok_or_else(wrong)? as f64;
        // Beyond 2^53 not every number of bytes is one of f64.
        if bytes >= 1.0 && bytes < (1u64 << 53) as f64 { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for ShardSize {
    type Error = ExportError;

    fn try_from(text: String) -> Result<Self, ExportError> {
        text.parse()
    }
}

impl From<ShardSize> for String {
    fn from(size: ShardSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_transformers_reads_them() {
        for (text, bytes) in [
            ("5GB", 5_000_000_000),
            ("500mb", 500_000_000),
            ("1.5 GB", 1_500_000_000),
            ("2GiB", 2 << 30),
            ("100", 100),
            (" 7B ", 7),
        ] {
            let size: ShardSize = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string().parse::<ShardSize>().unwrap(), size);
        }
        for text in
            ["", "GB", "0", "0.1", "-5GB", "5 G B", "5G", "five", "1e9", "9999999999TB", "5.5.5GB", "NaN"]
        {
            let error = text.parse::<ShardSize>().unwrap_err().to_string();
            assert!(error.contains("5GB"), "{text}: {error}");
        }
        assert_eq!(serde_json::to_value("5GB".parse::<ShardSize>().unwrap()).unwrap(), "5GB");
    }
}
