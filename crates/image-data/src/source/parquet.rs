//! Parquet files in the layout of the Hugging Face Hub: a column of encoded pictures, a column of whole numbers for the
//! classes, whose names stand in the schema's metadata.
//!
//! A row group is decoded when the first of its pictures is asked for, and stays in memory, still encoded as PNG or
//! JPEG: compressed columns have no random access below a row group.

mod pages;

use std::{
    error::Error,
    fs::File,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use polars_arrow::{
    array::{Array, BinaryViewArray, PrimitiveArray, StructArray},
    datatypes::{ArrowDataType, Field},
};
use polars_buffer::Buffer;
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, FileMetadata, PageReader, RowGroupMetadata,
    column_iter_to_arrays, read_metadata, schema::parquet_to_arrow_schema,
};
use polars_utils::mmap::MMapSemaphore;
use serde_json::Value;

use super::{
    Found, Kind, Listing, Root, Store, check_memory, checked_labels, different, file_name, numbered,
};
use crate::{
    decode::{Header, Image, decode, header},
    error::ImageDataError,
    part::Part,
};

/// Names of the columns, best first.
const IMAGES: [&str; 2] = ["image", "img"];
const LABELS: [&str; 4] = ["label", "labels", "fine_label", "class"];
/// The Hub's label of images that have none.
const UNLABELLED: i64 = -1;

pub(super) fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"))
}

/// The Parquet files in `folder` or its `data`; none if there are none.
pub(super) fn tables(folder: &Path) -> Result<Option<Vec<PathBuf>>, ImageDataError> {
    for folder in [folder.to_owned(), folder.join("data")].iter().filter(|folder| folder.is_dir()) {
        let is_there = |entry: std::fs::DirEntry| is_table(&entry.path());
        let entries = std::fs::read_dir(folder).map_err(ImageDataError::read(folder))?;
        if entries.flatten().any(is_there) {
            let mut files = Listing::of(folder, &Root::of(folder)?)?.files;
            files.retain(|path| is_table(path));
            return Ok((!files.is_empty()).then_some(files));
        }
    }
    Ok(None)
}

/// Parts by the first word of the files' names; where no file begins with `train`, all are for training.
pub(super) fn find(mut files: Vec<PathBuf>, max_memory_bytes: u64) -> Result<Found, ImageDataError> {
    let word =
        |path: &Path| file_name(path).split(['-', '.', '_']).next().unwrap_or_default().to_ascii_lowercase();
    let mut take = |words: &[&str]| -> Vec<PathBuf> {
        files.extract_if(.., |path| words.contains(&word(path).as_str())).collect()
    };
    let mut train = take(&["train"]);
    let (validation, test) = (take(&["validation", "valid", "val"]), take(&["test"]));
    let mut warnings = Vec::new();
    if train.is_empty() {
        // A file that is named alone is what is learnt from, whatever its name.
        train = if files.is_empty() && validation.len() + test.len() == 1 {
            return found([validation, test].concat(), Vec::new(), Vec::new(), max_memory_bytes, warnings);
        } else {
            files
        };
    } else if let Some(first) = files.first() {
        warnings.push(format!(
            "{} Parquet files are ignored, {} for one: names of parts are train, validation and test",
            files.len(),
            file_name(first)
        ));
    }
    found(train, validation, test, max_memory_bytes, warnings)
}

fn found(
    train: Vec<PathBuf>,
    validation: Vec<PathBuf>,
    test: Vec<PathBuf>,
    max_memory_bytes: u64,
    mut warnings: Vec<String>,
) -> Result<Found, ImageDataError> {
    let Some(first) = train.first().cloned() else {
        let path = validation.into_iter().chain(test).next().unwrap_or_default();
        return Err(ImageDataError::EmptyPart { path, part: "training" });
    };
    let train = Tables::open(train, max_memory_bytes)?;
    let labels = train.labels()?;
    let (values, classes) = match train.files[0].columns.classes.clone() {
        Some(names) => ((0..).take(names.len()).collect(), names),
        None => (different(&labels), numbered(&different(&labels))),
    };
    let mut other = |files: Vec<PathBuf>, name: &str| -> Result<Option<Part>, ImageDataError> {
        let Some(first) = files.first().cloned() else { return Ok(None) };
        let tables = Tables::open(files, max_memory_bytes)?;
        let labels = tables.labels()?;
        if labels.iter().all(|&label| label == UNLABELLED) {
            warnings.push(format!("the {name} images have no labels and are not used"));
            return Ok(None);
        }
        Ok(Some(Part::new(tables, checked_labels(&first, &labels, &values)?)))
    };
    let (validation, test) = (other(validation, "validation")?, other(test, "test")?);
    let train = Part::new(train, checked_labels(&first, &labels, &values)?);
    Ok(Found { kind: Kind::Parquet, classes, train, validation, test, warnings })
}

/// The files of a part.
struct Tables {
    files: Vec<Table>,
}

struct Table {
    path: PathBuf,
    bytes: Buffer<u8>,
    metadata: FileMetadata,
    columns: Columns,
    max_memory_bytes: u64,
    /// Pictures by row group, once one of them was asked for.
    groups: Vec<OnceLock<Result<Pictures, String>>>,
}

/// What is read of a table.
struct Columns {
    image: Field,
    label: Field,
    /// Names of the classes, where the metadata say them.
    classes: Option<Vec<String>>,
}

/// Encoded pictures of a row group, one after another; one without bytes is empty.
struct Pictures {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Tables {
    fn open(paths: Vec<PathBuf>, max_memory_bytes: u64) -> Result<Self, ImageDataError> {
        let mut files = Vec::new();
        let mut bytes = 0;
        for path in paths {
            let table = Table::open(path, max_memory_bytes)?;
            bytes += table.unpacked_bytes()?;
            check_memory(&table.path, bytes, max_memory_bytes)?;
            files.push(table);
        }
        Ok(Self { files })
    }

    fn labels(&self) -> Result<Vec<i64>, ImageDataError> {
        let labels = self.files.iter().map(Table::labels).collect::<Result<Vec<_>, _>>()?;
        Ok(labels.concat())
    }

    /// The table that has `row`, and which of its rows it is.
    fn locate(&self, row: u32) -> Result<(&Table, usize), String> {
        let mut row = row as usize;
        for table in &self.files {
            if row < table.metadata.num_rows {
                return Ok((table, row));
            }
            row -= table.metadata.num_rows;
        }
        Err("the files have fewer rows".to_owned())
    }

    fn encoded(&self, row: u32) -> Result<&[u8], String> {
        let (table, row) = self.locate(row)?;
        table.encoded(row)
    }
}

impl Store for Tables {
    fn image(&self, row: u32) -> Result<Image<'_>, String> {
        decode(self.encoded(row)?)
    }

    fn header(&self, row: u32) -> Result<Header, String> {
        header(self.encoded(row)?)
    }

    fn name(&self, row: u32) -> String {
        self.locate(row).map_or_else(
            |_| format!("row {row}"),
            |(table, row)| format!("{} row {row}", file_name(&table.path)),
        )
    }
}

impl Table {
    fn open(path: PathBuf, max_memory_bytes: u64) -> Result<Self, ImageDataError> {
        let mut file = File::open(&path).map_err(ImageDataError::read(&path))?;
        let read = guarded(|| {
            let metadata = read_metadata(&mut file)?;
            let columns = Columns::of(&metadata)?;
            Ok((metadata, columns, Buffer::from_owner(MMapSemaphore::new_from_file(&file)?)))
        });
        let (metadata, columns, bytes) = read.map_err(|reason| ImageDataError::broken(&path, reason))?;
        let groups = metadata.row_groups.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { path, bytes, metadata, columns, max_memory_bytes, groups })
    }

    /// Bytes that images and labels take once they are unpacked, as their pages say.
    fn unpacked_bytes(&self) -> Result<u64, ImageDataError> {
        let read = guarded(|| {
            let mut bytes: u64 = 0;
            for group in &self.metadata.row_groups {
                for field in [&self.columns.image, &self.columns.label] {
                    for chunk in chunks(group, field) {
                        let unpacked = pages::unpacked(&self.bytes_of(chunk, field)?, chunk.num_values())?;
                        bytes = bytes.saturating_add(unpacked);
                    }
                }
            }
            Ok(bytes)
        });
        read.map_err(|reason| ImageDataError::broken(&self.path, reason))
    }

    fn labels(&self) -> Result<Vec<i64>, ImageDataError> {
        let groups = self.metadata.row_groups.iter();
        let read = guarded(|| {
            let mut labels = Vec::new();
            for group in groups {
                for array in self.decode(group, &self.columns.label)? {
                    labels.extend(whole_numbers(array.as_ref()).ok_or("its labels are no whole numbers")?);
                }
            }
            Ok(labels)
        });
        read.map_err(|reason| ImageDataError::broken(&self.path, reason))
    }

    fn encoded(&self, mut row: usize) -> Result<&[u8], String> {
        for (group, pictures) in self.metadata.row_groups.iter().zip(&self.groups) {
            if row >= group.num_rows() {
                row -= group.num_rows();
                continue;
            }
            let pictures = pictures.get_or_init(|| guarded(|| self.pictures(group)));
            let Pictures { bytes, ends } = pictures.as_ref().map_err(Clone::clone)?;
            let start = if row == 0 { 0 } else { ends[row - 1] };
            return Ok(&bytes[start..ends[row]]);
        }
        Err("the file has fewer rows".to_owned())
    }

    fn pictures(&self, group: &RowGroupMetadata) -> Result<Pictures, Reason> {
        let mut pictures = Pictures { bytes: Vec::new(), ends: Vec::new() };
        for array in self.decode(group, &self.columns.image)? {
            let column = match array.as_any().downcast_ref::<StructArray>() {
                Some(fields) => {
                    let at = fields.fields().iter().position(|field| field.name == "bytes");
                    fields.values()[at.ok_or("the images have no bytes")?].as_ref()
                }
                None => array.as_ref(),
            };
            let column =
                column.as_any().downcast_ref::<BinaryViewArray>().ok_or("the images are no bytes")?;
            for value in column {
                let value = value.unwrap_or_default();
                // A picture that stands once in a dictionary can be in any number of rows.
                if (pictures.bytes.len() + value.len()) as u64 > self.max_memory_bytes {
                    let most = self.max_memory_bytes;
                    return Err(format!("the pictures of a row group take more than {most} bytes").into());
                }
                pictures.bytes.extend_from_slice(value);
                pictures.ends.push(pictures.bytes.len());
            }
        }
        Ok(pictures)
    }

    /// The bytes of a column's part, still packed.
    fn bytes_of(&self, chunk: &ColumnChunkMetadata, field: &Field) -> Result<Buffer<u8>, Reason> {
        let range = chunk.byte_range();
        let (start, end) = (range.start as usize, range.end as usize);
        if start > end || end > self.bytes.len() {
            return Err(format!("column `{}` lies beyond the file's end", field.name).into());
        }
        Ok(self.bytes.clone().sliced(start..end))
    }

    /// A column's part in `group`.
    fn decode(&self, group: &RowGroupMetadata, field: &Field) -> Result<Vec<Box<dyn Array>>, Reason> {
        let (mut pages, mut types) = (Vec::new(), Vec::new());
        for chunk in chunks(group, field) {
            let cursor = Cursor::new(self.bytes_of(chunk, field)?);
            let reader = PageReader::new(cursor, chunk, Vec::new(), usize::MAX);
            pages.push(BasicDecompressor::new(reader, Vec::new()));
            types.push(&chunk.descriptor().descriptor.primitive_type);
        }
        let (arrays, _) = column_iter_to_arrays(pages, types, field.clone(), None)?;
        let (decoded, announced) = (arrays.iter().map(|array| array.len()).sum::<usize>(), group.num_rows());
        if decoded != announced {
            let reason =
                format!("column `{}` has {decoded} values where {announced} were announced", field.name);
            return Err(reason.into());
        }
        Ok(arrays)
    }
}

impl Columns {
    /// Finds the columns by the features that the Hub's metadata declare, else by their names and types.
    fn of(metadata: &FileMetadata) -> Result<Self, Reason> {
        let schema = parquet_to_arrow_schema(metadata.schema().fields());
        let fields: Vec<&Field> = schema.iter_values().collect();
        let features = features(metadata);
        let is_feature = |name: &str, kind: &str| features[name]["_type"] == kind;
        let pick = |names: &[&str], kind: &str, fits: &dyn Fn(&ArrowDataType) -> bool| {
            let fitting = || fields.iter().filter(|field| fits(&field.dtype)).copied();
            let named = names.iter().find_map(|name| fitting().find(|field| field.name == *name));
            named.or_else(|| fitting().find(|field| is_feature(&field.name, kind))).cloned()
        };
        let named = || fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
        let image = pick(&IMAGES, "Image", &is_image).ok_or_else(|| {
            format!("no column of images, such as `image` of {{bytes, path}}; columns: {}", named())
        })?;
        let label = pick(&LABELS, "ClassLabel", &is_whole).ok_or_else(|| {
            format!("no column of whole numbers for the classes, such as `label`; columns: {}", named())
        })?;
        let names = features[label.name.as_str()]["names"].as_array();
        let classes = names.map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Ok(Self { image, label, classes })
    }
}

/// `info.features` of the metadata that the `datasets` library writes; null without them.
fn features(metadata: &FileMetadata) -> Value {
    let pairs = metadata.key_value_metadata.iter().flatten();
    let text = pairs.filter(|pair| pair.key == "huggingface").find_map(|pair| pair.value.as_deref());
    let mut value: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    value.pointer_mut("/info/features").map_or(Value::Null, Value::take)
}

fn is_image(kind: &ArrowDataType) -> bool {
    match kind {
        ArrowDataType::Struct(fields) => {
            fields.iter().any(|field| field.name == "bytes" && is_bytes(&field.dtype))
        }
        kind => is_bytes(kind),
    }
}

fn is_bytes(kind: &ArrowDataType) -> bool {
    matches!(kind, ArrowDataType::Binary | ArrowDataType::LargeBinary | ArrowDataType::BinaryView)
}

fn is_whole(kind: &ArrowDataType) -> bool {
    use ArrowDataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32};
    matches!(kind, Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32)
}

/// The numbers of an array; one that is missing counts as unlabelled.
fn whole_numbers(array: &dyn Array) -> Option<Vec<i64>> {
    fn of<T: polars_arrow::types::NativeType + Into<i64>>(array: &dyn Array) -> Option<Vec<i64>> {
        let array = array.as_any().downcast_ref::<PrimitiveArray<T>>()?;
        Some(array.iter().map(|value| value.map_or(UNLABELLED, |&value| value.into())).collect())
    }
    match array.dtype() {
        ArrowDataType::Int8 => of::<i8>(array),
        ArrowDataType::Int16 => of::<i16>(array),
        ArrowDataType::Int32 => of::<i32>(array),
        ArrowDataType::Int64 => of::<i64>(array),
        ArrowDataType::UInt8 => of::<u8>(array),
        ArrowDataType::UInt16 => of::<u16>(array),
        ArrowDataType::UInt32 => of::<u32>(array),
        _ => None,
    }
}

/// The column chunks of a field: one, or one per leaf when it is nested.
fn chunks<'a>(group: &'a RowGroupMetadata, field: &Field) -> impl Iterator<Item = &'a ColumnChunkMetadata> {
    group.columns_under_root_iter(field.name.as_str()).into_iter().flatten()
}

type Reason = Box<dyn Error>;

/// Runs `work`, whose errors and panics say that the file is no good: decoders of a columnar format panic on bytes
/// that contradict each other.
fn guarded<T>(work: impl FnOnce() -> Result<T, Reason>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its content contradicts itself".to_owned()),
    }
}
