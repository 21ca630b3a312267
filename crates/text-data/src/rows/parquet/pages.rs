//! What the pages of a column unpack to, read from their headers before anything is unpacked.
//!
//! A page is unpacked whole, into as many bytes as its header says, which may be 2 GiB from a few kilobytes.

use std::io::Cursor;

use polars_parquet_format::{PageHeader, thrift::protocol::TCompactInputProtocol};

use super::Reason;

/// Bytes that the pages of a row group may take at once: the largest of each column that is read.
pub(super) const UNPACKED_BYTES: u64 = 1 << 30;
/// Bytes that a value takes at least once it is decoded. Equal values may take none in the file.
const VALUE_BYTES: u64 = 16;
/// Bytes of a page's header at most.
const HEADER_BYTES: usize = 16 << 20;

/// Bytes that the largest page of a column takes when it is unpacked and decoded. `chunk` are the bytes of the column,
/// which has `values` values.
pub(super) fn largest(chunk: &[u8], values: i64) -> Result<u64, Reason> {
    let mut pages = Cursor::new(chunk);
    let (mut largest, mut seen) = (0, 0);
    while seen < values && pages.position() < chunk.len() as u64 {
        let mut protocol = TCompactInputProtocol::new(&mut pages, HEADER_BYTES);
        let header = PageHeader::read_from_in_protocol(&mut protocol)?;
        let unpacked = u64::try_from(header.uncompressed_page_size)?;
        let data = header.data_page_header.map(|page| page.num_values);
        let data = data.or(header.data_page_header_v2.map(|page| page.num_values)).unwrap_or(0);
        let dictionary = header.dictionary_page_header.map_or(0, |page| page.num_values);
        let decoded = VALUE_BYTES * u64::try_from(data.max(dictionary))?;
        largest = largest.max(unpacked).max(decoded);
        seen += i64::from(data);
        let packed = u64::try_from(header.compressed_page_size)?;
        pages.set_position(pages.position() + packed);
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use polars_parquet_format::{
        DataPageHeader, Encoding, PageType, thrift::protocol::TCompactOutputProtocol,
    };

    use super::*;

    #[test]
    fn equal_values_count_with_what_they_take_once_they_are_decoded() {
        // A hundred million times the same value: the page has no byte.
        let values = 100_000_000;
        let header = PageHeader {
            type_: PageType::DATA_PAGE,
            uncompressed_page_size: 0,
            compressed_page_size: 0,
            crc: None,
            data_page_header: Some(DataPageHeader {
                num_values: values,
                encoding: Encoding::RLE_DICTIONARY,
                definition_level_encoding: Encoding::RLE,
                repetition_level_encoding: Encoding::RLE,
                statistics: None,
            }),
            index_page_header: None,
            dictionary_page_header: None,
            data_page_header_v2: None,
        };
        let mut chunk = Vec::new();
        header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut chunk)).unwrap();
        assert!(largest(&chunk, values.into()).unwrap() > UNPACKED_BYTES);
    }
}
