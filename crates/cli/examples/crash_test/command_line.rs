//! The arguments of the crash test, and how it ends.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::campaign::{self, Campaign, Until};

/// Runs the campaign that the arguments ask for.
pub fn run() -> ExitCode {
    match campaign_of(std::env::args().skip(1)).and_then(|campaign| campaign::run(&campaign)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(u8::from(!report.faults.is_empty()))
        }
        Err(error) => {
            eprintln!("crash_test: {error}");
            ExitCode::from(2)
        }
    }
}

fn campaign_of(mut arguments: impl Iterator<Item = String>) -> Result<Campaign, String> {
    let mut campaign = Campaign {
        binary: sibling_binary()?,
        seed: SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |age| u64::from(age.subsec_nanos())),
        until: Until::Kills(100),
        only: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--kills" => campaign.until = Until::Kills(number()?),
            "--minutes" => campaign.until = Until::Elapsed(Duration::from_secs(60 * number()?)),
            "--seed" => campaign.seed = number()?,
            "--only" => campaign.only = Some(value),
            "--binary" => campaign.binary = PathBuf::from(value),
            _ => {
                return Err(format!(
                    "{name} is not known; there are --kills, --minutes, --seed, --only and --binary"
                ));
            }
        }
    }
    Ok(campaign)
}

/// `greentune` as Cargo builds it beside the examples.
fn sibling_binary() -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    own.parent().and_then(|examples| examples.parent()).map(|target| target.join("greentune")).ok_or_else(
        || String::from("this program is not where Cargo builds it: name greentune with --binary"),
    )
}
