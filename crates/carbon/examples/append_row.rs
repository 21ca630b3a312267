//! Appends the last row of an emissions file to it once more and prints how many it holds: `append_row CSV`.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{env, error::Error, io::Write as _, path::PathBuf};

use greentune_carbon::codecarbon;

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os().nth(1).map(PathBuf::from).ok_or("usage: append_row CSV")?;
    let last = codecarbon::last(&file)?.ok_or("the file holds no row")?;
    if let Some(aside) = codecarbon::append(&file, &last)? {
        return Err(format!("set aside as {}", aside.display()).into());
    }
    writeln!(std::io::stdout(), "{}", codecarbon::read(&file)?.len())?;
    Ok(())
}
