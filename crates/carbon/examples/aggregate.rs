//! Adds up the emissions files of a folder and prints the answer as JSON: `aggregate FOLDER`.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{env, error::Error, io::Write as _, path::PathBuf};

use greentune_carbon::{aggregate::aggregate, equivalence::EquivalenceTable};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).map(PathBuf::from).ok_or("usage: aggregate FOLDER")?;
    let answer = aggregate(&folder, &EquivalenceTable::default())?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&answer)?)?;
    Ok(())
}
