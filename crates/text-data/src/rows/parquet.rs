//! Rows of a Parquet file, decoded a slice of a row group at a time.
//!
//! The file is mapped into memory, so that a row group larger than memory is no obstacle, and only columns that are
//! asked for are decoded.

mod pages;

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use polars_arrow::{array::Array, datatypes::Field};
use polars_buffer::Buffer;
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, FileMetadata, Filter, PageReader, RowGroupMetadata,
    column_iter_to_arrays, read_metadata, schema::parquet_to_arrow_schema,
};
use polars_utils::mmap::MMapSemaphore;
use serde_json::Value;

use super::{
    Fields, Rejection, Row,
    arrow::{NoRoom, Room, json},
    object, open_file,
};
use crate::error::DataError;

/// Bytes of column data, uncompressed, that are decoded at once.
const SLICE_BYTES: usize = 16 << 20;
/// Rows that are decoded at once: equal values take no bytes in the file, and memory all the same.
const SLICE_ROWS: usize = 1 << 17;

/// The rows of all row groups in order.
pub(super) struct ParquetRows {
    path: PathBuf,
    bytes: Buffer<u8>,
    metadata: FileMetadata,
    columns: Vec<Column>,
    slice_bytes: usize,
    /// The row group that is read next, and how many of its rows are read.
    group: usize,
    read_of_group: usize,
    /// Number of the last row, from 1.
    number: u64,
    slice: Slice,
}

/// A column of the file; one that is not asked for is null in every row.
struct Column {
    field: Field,
    is_wanted: bool,
}

/// Rows that are decoded.
#[derive(Default)]
struct Slice {
    /// By column; none for one that is not wanted.
    arrays: Vec<Vec<Box<dyn Array>>>,
    rows: usize,
    next: usize,
}

impl ParquetRows {
    /// Opens `path`; `wanted` are the columns whose values are read, all of them when absent.
    pub(super) fn open(path: &Path, wanted: Option<&[&str]>) -> Result<Self, DataError> {
        let mut file = open_file(path)?;
        let metadata = guarded(path, || Ok(read_metadata(&mut file)?))?;
        let schema = guarded(path, || Ok(parquet_to_arrow_schema(metadata.schema().fields())))?;
        let column = |field: &Field| Column {
            field: field.clone(),
            is_wanted: wanted.is_none_or(|wanted| wanted.contains(&field.name.as_str())),
        };
        let mapped = guarded(path, || Ok(MMapSemaphore::new_from_file(&file)?))?;
        Ok(Self {
            path: path.to_owned(),
            bytes: Buffer::from_owner(mapped),
            columns: schema.iter_values().map(column).collect(),
            metadata,
            slice_bytes: SLICE_BYTES,
            group: 0,
            read_of_group: 0,
            number: 0,
            slice: Slice::default(),
        })
    }

    /// Decodes the next slice; `false` at the end of the file.
    fn decode_next(&mut self) -> Result<bool, DataError> {
        while let Some(group) = self.metadata.row_groups.get(self.group) {
            let left = group.num_rows() - self.read_of_group;
            if left == 0 {
                (self.group, self.read_of_group) = (self.group + 1, 0);
                continue;
            }
            if self.read_of_group == 0 {
                guarded(&self.path, || self.check_pages(group))?;
            }
            let rows = left.min(self.rows_per_slice(group));
            let range = self.read_of_group..self.read_of_group + rows;
            let arrays = guarded(&self.path, || {
                self.columns.iter().map(|column| self.decode(group, column, range.clone())).collect()
            })?;
            self.slice = Slice { arrays, rows, next: 0 };
            self.read_of_group += rows;
            return Ok(true);
        }
        Ok(false)
    }

    fn rows_per_slice(&self, group: &RowGroupMetadata) -> usize {
        let wanted = self.columns.iter().filter(|column| column.is_wanted);
        let bytes = wanted.flat_map(|column| chunks(group, &column.field));
        let bytes: usize = bytes.map(|chunk| chunk.uncompressed_size().max(0) as usize).sum();
        let share = self.slice_bytes as f64 / bytes.max(1) as f64;
        ((group.num_rows() as f64 * share).ceil() as usize).min(SLICE_ROWS)
    }

    /// Refuses a row group whose pages would take memory without measure.
    fn check_pages(&self, group: &RowGroupMetadata) -> Result<(), Reason> {
        let mut at_once: u64 = 0;
        for column in self.columns.iter().filter(|column| column.is_wanted) {
            for chunk in chunks(group, &column.field) {
                at_once += pages::largest(&self.bytes_of(chunk, column)?, chunk.num_values())?;
            }
            if at_once > pages::UNPACKED_BYTES {
                let (most, name) = (pages::UNPACKED_BYTES >> 20, &column.field.name);
                return Err(format!(
                    "its pages unpack to more than {most} MiB at once (up to column `{name}`): write it with smaller pages"
                )
                .into());
            }
        }
        Ok(())
    }

    /// The bytes of a column's part, still packed.
    fn bytes_of(&self, chunk: &ColumnChunkMetadata, column: &Column) -> Result<Buffer<u8>, Reason> {
        let bytes = chunk.byte_range();
        let (start, end) = (bytes.start as usize, bytes.end as usize);
        if start > end || end > self.bytes.len() {
            return Err(format!("column `{}` lies beyond the file's end", column.field.name).into());
        }
        Ok(self.bytes.clone().sliced(start..end))
    }

    /// The rows `range` of a column's part in `group`.
    fn decode(
        &self,
        group: &RowGroupMetadata,
        column: &Column,
        range: std::ops::Range<usize>,
    ) -> Result<Vec<Box<dyn Array>>, Reason> {
        if !column.is_wanted {
            return Ok(Vec::new());
        }
        let (mut pages, mut types) = (Vec::new(), Vec::new());
        for chunk in chunks(group, &column.field) {
            let cursor = Cursor::new(self.bytes_of(chunk, column)?);
            pages.push(BasicDecompressor::new(
                PageReader::new(cursor, chunk, Vec::new(), usize::MAX),
                Vec::new(),
            ));
            types.push(&chunk.descriptor().descriptor.primitive_type);
        }
        let filter = Filter::new_ranged(range.start, range.end);
        let (arrays, _) = column_iter_to_arrays(pages, types, column.field.clone(), Some(filter))?;
        let decoded: usize = arrays.iter().map(|array| array.len()).sum();
        if decoded == range.len() {
            return Ok(arrays);
        }
        Err(format!(
            "column `{}` has {decoded} values where {} were announced",
            column.field.name,
            range.len()
        )
        .into())
    }

    fn row(&mut self) -> Result<Row, Rejection> {
        let slice = &mut self.slice;
        let mut room = Room { bytes: object::RECORD_BYTES, values: object::RECORD_VALUES };
        let mut value = |arrays: &Vec<Box<dyn Array>>| {
            let mut row = slice.next;
            for array in arrays {
                if row < array.len() {
                    return json(array.as_ref(), row, &mut room);
                }
                row -= array.len();
            }
            Ok(Value::Null)
        };
        let columns = self.columns.iter().zip(&slice.arrays);
        let fields: Result<Fields, NoRoom> =
            columns.map(|(column, arrays)| Ok((column.field.name.to_string(), value(arrays)?))).collect();
        slice.next += 1;
        self.number += 1;
        match fields {
            Ok(fields) => Ok(Row { line: self.number, fields }),
            Err(NoRoom) => Err(object::too_large("the row").at(&self.path, self.number)),
        }
    }
}

impl Iterator for ParquetRows {
    type Item = Result<Result<Row, Rejection>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.slice.next == self.slice.rows {
            match self.decode_next() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // What lies behind a place that cannot be decoded cannot be found.
                    self.group = usize::MAX;
                    return Some(Err(error));
                }
            }
        }
        Some(Ok(self.row()))
    }
}

/// The column chunks of a field: one, or one per leaf when it is nested.
fn chunks<'a>(group: &'a RowGroupMetadata, field: &Field) -> impl Iterator<Item = &'a ColumnChunkMetadata> {
    group.columns_under_root_iter(field.name.as_str()).into_iter().flatten()
}

type Reason = Box<dyn std::error::Error>;

/// Runs `work`, whose errors and panics say that the file is no good: decoders of a columnar format panic on bytes
/// that contradict each other.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, Reason>) -> Result<T, DataError> {
    let reason = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its content contradicts itself".to_owned(),
    };
    Err(DataError::Table { path: path.to_owned(), format: "Parquet", reason })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/data/{name}.parquet"))
    }

    fn rows(mut rows: ParquetRows) -> Vec<Row> {
        rows.by_ref().map(|row| row.unwrap().unwrap()).collect()
    }

    fn read(name: &str, wanted: Option<&[&str]>) -> Vec<Row> {
        rows(ParquetRows::open(&fixture(name), wanted).unwrap())
    }

    fn reason(path: &Path) -> String {
        let rows = ParquetRows::open(path, None).and_then(|mut rows| rows.try_for_each(|row| row.map(drop)));
        rows.unwrap_err().to_string()
    }

    #[test]
    fn compressions_encodings_and_page_versions_give_the_same_rows() {
        let rows = read("alpaca-snappy", None);
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
        let row = |n: usize| Value::Object(rows[n].fields.clone());
        assert_eq!(row(3)["input"], "input 3");
        let expected =
            json!({"instruction": "Say 11.", "input": null, "output": "11".repeat(12), "topic": "odd"});
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&row(11)[name], value, "{name}");
        }
        assert!((row(11)["quality"].as_f64().unwrap() - 1.1).abs() < 1e-6);
        for name in ["alpaca-zstd-v2", "alpaca-gzip-plain"] {
            assert_eq!(read(name, None), rows, "{name}");
        }
    }

    #[test]
    fn slices_of_any_size_give_the_same_rows() {
        for name in ["alpaca-snappy", "alpaca-zstd-v2", "messages"] {
            let whole = read(name, None);
            for slice_bytes in [1, 50, 200, 700] {
                let mut sliced = ParquetRows::open(&fixture(name), None).unwrap();
                sliced.slice_bytes = slice_bytes;
                assert_eq!(rows(sliced), whole, "{name} by {slice_bytes} bytes");
            }
        }
    }

    #[test]
    fn conversations_are_lists_of_objects() {
        let rows = read("messages", Some(&["messages"]));
        let turns = |n: usize| rows[n].fields["messages"].as_array().unwrap();
        assert_eq!((0..4).map(|n| turns(n).len()).collect::<Vec<_>>(), [2, 4, 6, 3]);
        assert_eq!(turns(3)[2], json!({"role": "user", "content": "turn 2 of 3"}));
        // A column that nobody asked for is still named, so that a missing field can be told from an unread one.
        assert_eq!(rows[0].fields["id"], Value::Null);
    }

    #[test]
    fn every_type_has_its_json() {
        let expected = json!({
            "text": "once", "flag": true, "small": -7, "large": 9_223_372_036_854_775_808_u64, "share": 0.25,
            "day": "2026-11-22", "at": "2026-11-22T04:00:00Z", "price": "-12.50", "tags": ["a", null, "b"],
            "source": {"name": "s", "pages": [1, 2]},
            "scores": [{"key": "a", "value": 1}, {"key": "b", "value": 2}], "bytes": null, "none": null,
        });
        assert_eq!(Value::Object(read("types", None).remove(0).fields), expected);
    }

    #[test]
    fn a_record_that_is_too_large_is_told_by_its_number_and_hides_nothing() {
        let rows: Vec<_> = ParquetRows::open(&fixture("large"), None).unwrap().map(Result::unwrap).collect();
        let instructions: Vec<_> =
            rows.iter().filter_map(|row| row.as_ref().ok()).map(|row| &row.fields["instruction"]).collect();
        assert_eq!(instructions, ["a", "b", "d"]);
        for number in [2, 4] {
            let problem = &rows[number - 1].as_ref().unwrap_err().problem;
            assert_eq!(
                problem.message,
                "the row holds more than 64 MiB of text, or more than 2097152 values"
            );
            assert_eq!(problem.location.as_ref().unwrap().line, Some(number as u64));
        }
    }

    #[test]
    fn pages_that_unpack_without_measure_are_refused_before_they_are_unpacked() {
        for name in ["large-page", "large-dictionary"] {
            let refusal = reason(&fixture(name));
            assert!(
                refusal.contains("unpack to more than 1024 MiB at once (up to column `output`)"),
                "{refusal}"
            );
        }
        // The column that is too large is not asked for.
        let read = read("large-page", Some(&["instruction"]));
        assert_eq!(read[0].fields["instruction"], "a");
    }

    #[test]
    fn equal_rows_without_bytes_are_not_decoded_at_once() {
        let mut rows = ParquetRows::open(&fixture("equal-rows"), None).unwrap();
        let mut largest = 0;
        let mut count = 0;
        while let Some(row) = rows.next() {
            assert_eq!(row.unwrap().unwrap().fields["output"], "b");
            largest = largest.max(rows.slice.rows);
            count += 1;
        }
        assert_eq!((count, largest), (300_000, SLICE_ROWS));
    }

    #[test]
    fn what_is_no_parquet_or_too_much_of_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.parquet");
        for bytes in [&b""[..], b"PAR1", b"instruction,output\n", &[0; 64]] {
            std::fs::write(&path, bytes).unwrap();
            let reason = reason(&path);
            assert!(reason.contains("cannot be read as Parquet"), "{reason}");
        }
        let brotli = reason(&fixture("alpaca-brotli"));
        assert!(brotli.to_lowercase().contains("brotli"), "{brotli}");
        assert!(matches!(
            ParquetRows::open(Path::new("none.parquet"), None),
            Err(DataError::NotFound { .. })
        ));
    }

    #[test]
    fn bytes_that_contradict_each_other_end_the_rows_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.parquet");
        let good = std::fs::read(fixture("alpaca-snappy")).unwrap();
        let mut errors = 0;
        for at in (4..good.len() - 8).step_by(37) {
            let mut bytes = good.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            let Ok(rows) = ParquetRows::open(&path, None) else {
                errors += 1;
                continue;
            };
            // Never more than announced, and nothing behind an error.
            let outcomes: Vec<_> = rows.take(100).collect();
            let first_error = outcomes.iter().position(Result::is_err);
            assert!(first_error.is_none_or(|first| first + 1 == outcomes.len()), "byte {at}");
            errors += usize::from(first_error.is_some());
        }
        assert!(errors > 5, "only {errors} files were found broken");
    }
}
