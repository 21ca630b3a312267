//! `greentune-fake-hub FOLDER ID [--parts-of BYTES]`: serves a model's folder as the Hugging Face Hub does, and takes
//! uploads, larger ones in parts where that is asked for, until standard input ends.
//! The first line of standard output is its address; at its end come the requests that it answered.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{
    error::Error,
    io::{self, Read, Write},
    path::Path,
};

use greentune_test_support::fake_hub::FakeHub;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (folder, id, parts) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder, id] => (folder, id, None),
        [folder, id, "--parts-of", bytes] => (folder, id, Some(bytes.parse()?)),
        _ => return Err("usage: greentune-fake-hub FOLDER ID [--parts-of BYTES]".into()),
    };
    let hub = FakeHub::serving(Path::new(folder), id)?;
    if let Some(bytes) = parts {
        hub.take_parts_of(bytes);
    }
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", hub.endpoint())?;
    stdout.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    for request in hub.requests() {
        writeln!(stdout, "{} {} {}", request.method, request.path, request.range.unwrap_or_default())?;
    }
    Ok(())
}
