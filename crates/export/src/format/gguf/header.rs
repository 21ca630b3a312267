//! The head of a GGUF file, version 3: metadata, then name, shape, type and place of each tensor.

use super::block::TensorType;
use crate::packing::Packing;

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
pub(super) const VERSION: u32 = 3;
/// Tensors begin at multiples of this many bytes; what readers assume where `general.alignment` is absent.
pub(super) const ALIGNMENT: u64 = 32;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Bools(Vec<bool>),
}

/// Numbers of types in a file.
pub(super) mod number {
    pub(in super::super) const U32: u32 = 4;
    pub(in super::super) const I32: u32 = 5;
    pub(in super::super) const F32: u32 = 6;
    pub(in super::super) const BOOL: u32 = 7;
    pub(in super::super) const TEXT: u32 = 8;
    pub(in super::super) const LIST: u32 = 9;
}

/// The metadata of a file, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metadata(pub(super) Vec<(String, Value)>);

impl Metadata {
    pub(super) fn put(&mut self, key: impl Into<String>, value: Value) {
        self.0.push((key.into(), value));
    }

    pub(super) fn put_text(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.put(key, Value::Text(value.into()));
    }
}

/// A tensor as the head describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) name: String,
    /// From the outermost to the innermost dimension, as safetensors has it; the file has it the other way round.
    pub(super) shape: Vec<usize>,
    pub(super) kind: TensorType,
    /// Where it begins, from the first tensor's beginning.
    pub(super) offset: u64,
}

impl Described {
    /// Bytes without the padding behind it.
    pub(super) fn bytes(&self) -> u64 {
        self.kind.bytes_of(self.shape.iter().product()) as u64
    }
}

/// Gives each of `tensors` its place.
pub(super) fn place(tensors: impl Iterator<Item = (String, Vec<usize>, TensorType)>) -> Vec<Described> {
    let mut offset = 0;
    tensors
        .map(|(name, shape, kind)| {
            let described = Described { name, shape, kind, offset };
            offset += padded(described.bytes());
            described
        })
        .collect()
}

/// Bytes with the padding up to the next multiple of [`ALIGNMENT`].
pub(super) const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Everything before the first tensor.
pub(super) fn encode(metadata: &Metadata, tensors: &[Described]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.0.len() as u64).to_le_bytes());
    for (key, value) in &metadata.0 {
        put_text(key, &mut bytes);
        put_value(value, &mut bytes);
    }
    for tensor in tensors {
        put_text(&tensor.name, &mut bytes);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        for size in tensor.shape.iter().rev() {
            bytes.extend((*size as u64).to_le_bytes());
        }
        bytes.extend(tensor.kind.id().to_le_bytes());
        bytes.extend(tensor.offset.to_le_bytes());
    }
    bytes.resize(padded(bytes.len() as u64) as usize, 0);
    bytes
}

fn put_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn put_value(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::U32(value) => put(bytes, number::U32, value.to_le_bytes()),
        Value::F32(value) => put(bytes, number::F32, value.to_le_bytes()),
        Value::Bool(value) => put(bytes, number::BOOL, [u8::from(*value)]),
        Value::Text(text) => {
            put(bytes, number::TEXT, []);
            put_text(text, bytes);
        }
        Value::Texts(texts) => {
            put_list(bytes, number::TEXT, texts.len());
            for text in texts {
                put_text(text, bytes);
            }
        }
        Value::I32s(values) => {
            put_list(bytes, number::I32, values.len());
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Value::F32s(values) => {
            put_list(bytes, number::F32, values.len());
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Value::Bools(values) => {
            put_list(bytes, number::BOOL, values.len());
            bytes.extend(values.iter().map(|value| u8::from(*value)));
        }
    }
}

fn put<const N: usize>(bytes: &mut Vec<u8>, number: u32, value: [u8; N]) {
    bytes.extend(number.to_le_bytes());
    bytes.extend(value);
}

fn put_list(bytes: &mut Vec<u8>, of: u32, len: usize) {
    bytes.extend(number::LIST.to_le_bytes());
    bytes.extend(of.to_le_bytes());
    bytes.extend((len as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte as the format's specification has it (`docs/gguf.md` of ggml).
    #[test]
    fn head_of_one_tensor() {
        let mut metadata = Metadata::default();
        metadata.put_text("a", "xy");
        metadata.put("n", Value::U32(7));
        metadata.put("l", Value::Bools(vec![true, false]));
        let tensors = place([("t".to_owned(), vec![2, 3], TensorType::F32)].into_iter());
        let mut expected = b"GGUF\x03\0\0\0".to_vec();
        expected.extend(b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        expected.extend(b"\x01\0\0\0\0\0\0\0a\x08\0\0\0\x02\0\0\0\0\0\0\0xy");
        expected.extend(b"\x01\0\0\0\0\0\0\0n\x04\0\0\0\x07\0\0\0");
        expected.extend(b"\x01\0\0\0\0\0\0\0l\x09\0\0\0\x07\0\0\0\x02\0\0\0\0\0\0\0\x01\0");
        expected.extend(b"\x01\0\0\0\0\0\0\0t\x02\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
        expected.extend(b"\0\0\0\0\0\0\0\0\0\0\0\0");
        expected.resize(expected.len().next_multiple_of(32), 0);
        assert_eq!(encode(&metadata, &tensors), expected);
    }

    #[test]
    fn tensors_begin_at_multiples_of_32_bytes() {
        let shapes =
            [("a", 1), ("b", 8), ("c", 9)].map(|(name, len)| (name.to_owned(), vec![len], TensorType::F32));
        let offsets: Vec<u64> = place(shapes.into_iter()).iter().map(|tensor| tensor.offset).collect();
        assert_eq!(offsets, [0, 32, 64]);
    }
}
