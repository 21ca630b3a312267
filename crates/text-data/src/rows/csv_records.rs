//! Records of CSV text: the cells of each, and the line on which it begins.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::object::{RECORD_BYTES, RECORD_VALUES};

/// Records read one by one, each of bounded length. The cells of the last one are kept.
pub(super) struct CsvRecords {
    file: Box<dyn BufRead>,
    parser: Reader,
    /// The line of the file on which the next byte stands, as an editor counts; from 1.
    line: u64,
    bytes: Vec<u8>,
    /// Where each cell ends in `bytes`; the first `number` are of the last record.
    ends: Vec<usize>,
    number: usize,
}

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Its cells are [`CsvRecords::cells`].
    Cells {
        /// The line on which it begins.
        line: u64,
    },
    /// It has more than [`RECORD_BYTES`] or [`RECORD_VALUES`] and was skipped.
    TooLong {
        /// The line on which it begins.
        line: u64,
    },
}

impl CsvRecords {
    /// The records of `file`, whose cells `delimiter` parts.
    pub(super) fn new(file: Box<dyn BufRead>, delimiter: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        Self { file, parser, line: 1, bytes: vec![0; 1 << 10], ends: vec![0; 32], number: 0 }
    }

    /// Reads the next record; `None` at the end. Blank lines are none.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Record>> {
        self.skip_line_breaks()?;
        let line = self.line;
        let (mut bytes, mut number, mut is_too_long) = (0, 0, false);
        loop {
            let input = self.file.fill_buf()?;
            let (result, read, written, ended) =
                self.parser.read_record(input, &mut self.bytes[bytes..], &mut self.ends[number..]);
            self.line += line_breaks(&input[..read]);
            self.file.consume(read);
            (bytes, number) = (bytes + written, number + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => {
                    is_too_long |= !grow(&mut self.bytes, RECORD_BYTES);
                }
                ReadRecordResult::OutputEndsFull => {
                    is_too_long |= !grow(&mut self.ends, RECORD_VALUES);
                }
                ReadRecordResult::Record if is_too_long => return Ok(Some(Record::TooLong { line })),
                ReadRecordResult::Record => {
                    self.number = number;
                    return Ok(Some(Record::Cells { line }));
                }
                ReadRecordResult::End => return Ok(None),
            }
            if is_too_long {
                (bytes, number) = (0, 0);
            }
        }
    }

    /// The cells of the record that was read last.
    pub(super) fn cells(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let start = |cell: usize| if cell == 0 { 0 } else { self.ends[cell - 1] };
        (0..self.number).map(move |cell| &self.bytes[start(cell)..self.ends[cell]])
    }

    fn skip_line_breaks(&mut self) -> io::Result<()> {
        loop {
            let input = self.file.fill_buf()?;
            let breaks = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if breaks == 0 {
                return Ok(());
            }
            self.line += line_breaks(&input[..breaks]);
            self.file.consume(breaks);
        }
    }
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

/// Doubles what a record may take, unless that is `most` already; whether it did.
fn grow<T: Clone + Default>(buffer: &mut Vec<T>, most: usize) -> bool {
    let grows = buffer.len() < most;
    if grows {
        buffer.resize((buffer.len() * 2).min(most), T::default());
    }
    grows
}
