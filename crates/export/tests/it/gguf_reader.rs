//! A second reader of GGUF, for tests alone: as much as is needed to see what a file says.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

/// A GGUF file: metadata as JSON, and name → (shape as in the file, number of the type, bytes up to the next tensor).
pub struct Seen {
    pub metadata: BTreeMap<String, Value>,
    pub tensors: BTreeMap<String, (Vec<u64>, u32, Vec<u8>)>,
}

struct Cursor<'b>(&'b [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk::<N>().unwrap();
        self.0 = rest;
        *first
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
    fn text(&mut self) -> String {
        let len = self.u64() as usize;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }
    fn value(&mut self, kind: u32) -> Value {
        match kind {
            4 => json!(self.u32()),
            5 => json!(i32::from_le_bytes(self.take())),
            6 => json!(f32::from_le_bytes(self.take())),
            7 => json!(self.take::<1>() == [1]),
            8 => json!(self.text()),
            9 => {
                let (of, len) = (self.u32(), self.u64());
                (0..len).map(|_| self.value(of)).collect()
            }
            other => panic!("no value of the type {other}"),
        }
    }
}

pub fn read(path: &Path) -> Seen {
    let bytes = fs::read(path).unwrap();
    let mut head = Cursor(&bytes);
    assert_eq!(&head.take::<4>(), b"GGUF");
    assert_eq!(head.u32(), 3);
    let (tensor_count, value_count) = (head.u64(), head.u64());
    let mut metadata = BTreeMap::new();
    for _ in 0..value_count {
        let (key, kind) = (head.text(), head.u32());
        assert!(metadata.insert(key, head.value(kind)).is_none());
    }
    let mut described = Vec::new();
    for _ in 0..tensor_count {
        let (name, dimensions) = (head.text(), head.u32());
        let shape: Vec<u64> = (0..dimensions).map(|_| head.u64()).collect();
        described.push((name, shape, head.u32(), head.u64()));
    }
    let start = (bytes.len() - head.0.len()).next_multiple_of(32);
    let data = &bytes[start..];
    let ends =
        described.iter().skip(1).map(|tensor| tensor.3 as usize).chain([data.len()]).collect::<Vec<_>>();
    let mut tensors = BTreeMap::new();
    for ((name, shape, kind, offset), end) in described.into_iter().zip(ends) {
        assert_eq!(offset % 32, 0);
        tensors.insert(name, (shape, kind, data[offset as usize..end].to_vec()));
    }
    Seen { metadata, tensors }
}

impl Seen {
    /// The values of an F32 tensor, without its padding.
    pub fn f32(&self, name: &str) -> Vec<f32> {
        let (shape, kind, bytes) = &self.tensors[name];
        assert_eq!(*kind, 0, "{name}");
        let values = bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()));
        values.take(shape.iter().product::<u64>() as usize).collect()
    }
}
