//! Rounds of kills, full disks and moved clocks, until there were as many as were asked for.

mod clock;
mod disk;
mod files;
mod operations;
mod random;
mod training;
mod world;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use operations::OPERATIONS;
use random::Random;
use world::World;

/// What to do, and for how long.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The `greentune` that is killed.
    pub binary: PathBuf,
    /// Decides what is killed when; the same seed makes the same choices.
    pub seed: u64,
    /// When it ends.
    pub until: Until,
    /// The one operation that is killed; all when absent.
    pub only: Option<String>,
}

/// When a campaign ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many kills.
    Kills(u64),
    /// After so much time.
    Elapsed(Duration),
}

/// What was done to an operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Times that it was begun and brought to its end.
    pub rounds: u64,
    /// Times that a process of it was killed or asked to end while it was at work.
    pub struck: u64,
}

/// What a campaign found.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What was done, by operation.
    pub tallies: BTreeMap<&'static str, Tally>,
    /// What went wrong, in words.
    pub faults: Vec<String>,
    /// What could not be tried here, and why.
    pub skipped: Vec<String>,
}

/// A world is used for so many rounds, then a new one is made.
const ROUNDS_PER_WORLD: u64 = 120;
/// A full disk and a moved clock for so many rounds of kills.
const ROUNDS_PER_DISK_AND_CLOCK: u64 = 16;

/// Runs the campaign. Faults are printed as they are found, and do not end it.
///
/// Errors: `greentune` cannot be started, or cannot even do its work when it is left alone.
pub fn run(campaign: &Campaign) -> Result<Report, String> {
    let began = Instant::now();
    let mut random = Random::new(campaign.seed);
    let mut report = Report {
        seed: campaign.seed,
        elapsed: Duration::ZERO,
        tallies: BTreeMap::new(),
        faults: Vec::new(),
        skipped: Vec::new(),
    };
    let chosen: Vec<_> = OPERATIONS
        .iter()
        .filter(|operation| campaign.only.as_deref().is_none_or(|only| only == operation.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        return Err(format!("there is no such operation; there are {}", names.join(", ")));
    }
    println!("seed {}", campaign.seed);
    let mut world = World::new(&campaign.binary, random.bits())?;
    let mut round = 0;
    while !campaign.is_over(&report, began) {
        round += 1;
        if round % ROUNDS_PER_WORLD == 0 {
            world = World::new(&campaign.binary, random.bits())?;
        }
        let operation = chosen[(round as usize - 1) % chosen.len()];
        let disturbed = report.round(&mut world, operation.name, operation.round);
        let special = campaign.only.is_none() && round % ROUNDS_PER_DISK_AND_CLOCK == 0;
        let disturbed = disturbed || (special && report.special_rounds(&mut world));
        if disturbed {
            // What went wrong must not be found again and again.
            world = World::new(&campaign.binary, random.bits())?;
        }
    }
    report.elapsed = began.elapsed();
    Ok(report)
}

impl Campaign {
    fn is_over(&self, report: &Report, began: Instant) -> bool {
        match self.until {
            Until::Kills(kills) => report.tallies.values().map(|tally| tally.struck).sum::<u64>() >= kills,
            Until::Elapsed(time) => began.elapsed() >= time,
        }
    }
}

impl Report {
    /// One round of `name`; whether a fault was found.
    fn round(
        &mut self,
        world: &mut World,
        name: &'static str,
        round: impl FnOnce(&mut World) -> Result<(), String>,
    ) -> bool {
        let struck_before = world.struck;
        let outcome = round(world);
        let tally = self.tallies.entry(name).or_default();
        tally.rounds += 1;
        tally.struck += world.struck - struck_before;
        let Err(fault) = outcome else { return false };
        let fault = format!("{name}: {fault}; done before: {}", world.history());
        println!("FAULT {fault}");
        self.faults.push(fault);
        true
    }

    /// A full disk and moved clocks; whether a fault was found.
    fn special_rounds(&mut self, world: &mut World) -> bool {
        if self.round(world, "clocks moved", clock::round) {
            return true;
        }
        match disk::small_disk() {
            Ok(disk) => self.round(world, "disk full", |world| disk::round(world, &disk)),
            Err(why) => {
                let why = format!("disk full: {why}");
                if !self.skipped.contains(&why) {
                    self.skipped.push(why);
                }
                false
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:>7} {:>7}", "operation", "rounds", "kills")?;
        let mut all = Tally::default();
        for (name, tally) in &self.tallies {
            writeln!(f, "{name:<16} {:>7} {:>7}", tally.rounds, tally.struck)?;
            all.rounds += tally.rounds;
            all.struck += tally.struck;
        }
        writeln!(f, "{:<16} {:>7} {:>7}", "all", all.rounds, all.struck)?;
        for skipped in &self.skipped {
            writeln!(f, "skipped: {skipped}")?;
        }
        let (seconds, faults) = (self.elapsed.as_secs(), self.faults.len());
        write!(f, "seed {}, {seconds} s, {faults} faults", self.seed)
    }
}
