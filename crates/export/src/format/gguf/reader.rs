//! A GGUF file that was written, read back to be compared with what should be in it.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    block::TensorType,
    header::{Described, MAGIC, Metadata, VERSION, Value, number, padded},
};
use crate::error::ExportError;

/// A GGUF file, its head read.
pub(super) struct GgufFile {
    path: PathBuf,
    file: File,
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<Described>,
    /// Where the first tensor begins.
    data_start: u64,
}

impl GgufFile {
    /// Reads the head of `path` and checks that the file ends with its last tensor.
    pub(super) fn open(path: &Path) -> Result<Self, ExportError> {
        let file = File::open(path).map_err(ExportError::io("read", path))?;
        let len = file.metadata().map_err(ExportError::io("read", path))?.len();
        let mut head = Head { path, input: BufReader::new(file), left: len };
        if head.take(4)? != MAGIC || head.u32()? != VERSION {
            return Err(head.broken("it does not begin as GGUF version 3"));
        }
        let (tensor_count, value_count) = (head.u64()?, head.u64()?);
        let mut metadata = Metadata::default();
        for _ in 0..value_count {
            let key = head.text()?;
            metadata.put(key, head.value()?);
        }
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            tensors.push(head.described()?);
        }
        let data_start = padded(len - head.left);
        let file = head.input.into_inner();
        let end = tensors.iter().map(|tensor| tensor.offset + padded(tensor.bytes())).max().unwrap_or(0);
        if data_start + end != len {
            let reason = format!("it has {len} bytes; its tensors end at {}", data_start + end);
            return Err(ExportError::Broken { path: path.into(), reason });
        }
        Ok(Self { path: path.into(), file, metadata, tensors, data_start })
    }

    /// Reads `bytes` of `tensor` from its byte `from` on.
    pub(super) fn read(
        &mut self,
        tensor: &Described,
        from: u64,
        bytes: &mut [u8],
    ) -> Result<(), ExportError> {
        let at = self.data_start + tensor.offset + from;
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.read_exact(bytes))
            .map_err(ExportError::io("read", &self.path))
    }
}

/// What is left of a head.
struct Head<'p> {
    path: &'p Path,
    input: BufReader<File>,
    /// Bytes of the file that were not read yet.
    left: u64,
}

impl Head<'_> {
    fn broken(&self, reason: &str) -> ExportError {
        ExportError::Broken { path: self.path.into(), reason: reason.into() }
    }

    fn take(&mut self, count: u64) -> Result<Vec<u8>, ExportError> {
        // A length that is garbage must not become an allocation.
        let rest = self.left.checked_sub(count).ok_or_else(|| self.broken("it ends within its head"))?;
        let mut bytes = vec![0; count as usize];
        self.input.read_exact(&mut bytes).map_err(ExportError::io("read", self.path))?;
        self.left = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ExportError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.take(N as u64)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, ExportError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, ExportError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn f32(&mut self) -> Result<f32, ExportError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    fn bool(&mut self) -> Result<bool, ExportError> {
        Ok(self.array::<1>()? != [0])
    }

    fn text(&mut self) -> Result<String, ExportError> {
        let len = self.u64()?;
        String::from_utf8(self.take(len)?).map_err(|_| self.broken("a text in its head is not UTF-8"))
    }

    fn list<T>(
        &mut self,
        len: u64,
        mut item: impl FnMut(&mut Self) -> Result<T, ExportError>,
    ) -> Result<Vec<T>, ExportError> {
        (0..len).map(|_| item(self)).collect()
    }

    fn value(&mut self) -> Result<Value, ExportError> {
        Ok(match self.u32()? {
            number::U32 => Value::U32(self.u32()?),
            number::F32 => Value::F32(self.f32()?),
            number::BOOL => Value::Bool(self.bool()?),
            number::TEXT => Value::Text(self.text()?),
            number::LIST => {
                let (of, len) = (self.u32()?, self.u64()?);
                match of {
                    number::TEXT => Value::Texts(self.list(len, Self::text)?),
                    number::I32 => Value::I32s(self.list(len, |head| Ok(i32::from_le_bytes(head.array()?)))?),
                    number::F32 => Value::F32s(self.list(len, Self::f32)?),
                    number::BOOL => Value::Bools(self.list(len, Self::bool)?),
                    _ => return Err(self.broken("it has a list of a type that was not written")),
                }
            }
            _ => return Err(self.broken("it has a value of a type that was not written")),
        })
    }

    fn described(&mut self) -> Result<Described, ExportError> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        let mut shape = self.list(dimensions.into(), |head| Ok(head.u64()? as usize))?;
        shape.reverse();
        let kind = TensorType::of_id(self.u32()?)
            .ok_or_else(|| self.broken("it has a tensor of an unknown type"))?;
        Ok(Described { name, shape, kind, offset: self.u64()? })
    }
}
