//! A glance at the loss: some steps evenly spread over the file, found without reading the rest.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    path::Path,
};

use super::figures::StepLine;

/// Bytes that are read behind each place at most, looking for a step.
const LOOKED_AT: u64 = 16 << 10;

/// Up to `count` training losses, evenly spread over the events at `path`: stage, step of the stage, loss. None when there
/// is no file.
///
/// Errors: the file cannot be read.
pub fn sampled_losses(path: &Path, count: usize) -> io::Result<Vec<(u8, u64, f64)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(4096, file);
    let (mut found, mut line): (Vec<(u8, u64, f64)>, _) = (Vec::new(), Vec::new());
    let mut read_to = 0;
    for index in 0..count as u64 {
        // The last place is a little before the end, where the last whole lines are.
        let place = (length.saturating_sub(LOOKED_AT.min(length / 8)) * index)
            / (count as u64).saturating_sub(1).max(1);
        let mut at = place.max(read_to);
        reader.seek(SeekFrom::Start(at))?;
        if at > read_to {
            line.clear();
            at += reader.read_until(b'\n', &mut line)? as u64;
        }
        while at < place + LOOKED_AT {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)? as u64;
            if length == 0 {
                return Ok(found);
            }
            at += length;
            read_to = at;
            if let Some(step) = StepLine::of(line.trim_ascii_end()) {
                found.push((step.stage, step.step, step.train_loss));
                break;
            }
        }
    }
    Ok(found)
}
