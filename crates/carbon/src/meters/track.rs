//! Another program, metered while it runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use greentune_core_config::emissions::{EmissionsProvenance, EmissionsRecord, ROW_INTERVAL};

pub use crate::files::sidecar::beside as provenance_file;
use crate::{
    CarbonError, Meter, MeterConfig,
    files::{codecarbon, sidecar},
};

/// Time to the second row; the time between rows doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What a program used, and how it ended.
#[derive(Debug)]
pub struct Tracked {
    /// How the program ended.
    pub status: ExitStatus,
    /// Its row.
    pub record: EmissionsRecord,
    /// How the figures are got.
    pub provenance: EmissionsProvenance,
    /// Why the row or its provenance could not be written at the end, such as a full disk; it is then in `record` alone.
    pub trouble: Option<CarbonError>,
    /// A file with other columns that had the CSV's name, and is called so now.
    pub set_aside: Option<PathBuf>,
}

/// How a program is metered, and where its row goes.
#[derive(Clone, Debug)]
pub struct TrackConfig {
    /// The meter.
    pub meter: MeterConfig,
    /// CodeCarbon's CSV, created where it is missing.
    pub csv: PathBuf,
    /// Time between updates of the row: 15 s, CodeCarbon's own interval.
    pub write_every: Duration,
}

impl TrackConfig {
    /// A row of `csv` every 15 s.
    pub fn new(meter: MeterConfig, csv: impl Into<PathBuf>) -> Self {
        Self { meter, csv: csv.into(), write_every: ROW_INTERVAL }
    }
}

/// Runs `command` to its end and meters it meanwhile: one row of the CSV, written at once and brought up to date after 1, 3, 7
/// and 15 seconds, then every [`TrackConfig::write_every`], and at the end, so that a tracker that is killed leaves what it
/// knew. `on_start` is told the program's process id.
///
/// In mode process the program counts with all that it starts (and this process, which waits).
///
/// # Errors
/// The program cannot be started, the meter's settings are out of range, or the CSV cannot be opened; then nothing has run
/// and nothing is written. What goes wrong with the file later does not end the program: it is said in
/// [`Tracked::trouble`].
pub fn track(
    command: &mut Command,
    config: TrackConfig,
    on_start: impl FnOnce(u32),
) -> Result<Tracked, CarbonError> {
    let TrackConfig { meter, csv, write_every } = config;
    let run_id = meter.run_id.clone();
    let meter = Meter::start(meter)?;
    let program = command.get_program().to_string_lossy().into_owned();
    check_writable(&csv).map_err(CarbonError::file("write", &csv))?;
    let child =
        command.spawn().map_err(|source| CarbonError::Program { program: program.clone(), source })?;
    on_start(child.id());
    let mut set_aside = None;
    let mut has_row = false;
    let sidecar = provenance_file(&csv, &run_id);
    let mut write = |record: &EmissionsRecord, provenance: &EmissionsProvenance| -> Result<(), CarbonError> {
        // First, so that no row is without its provenance when this process is killed between the two.
        sidecar::write(&sidecar, provenance)?;
        let written = codecarbon::update(&csv, record);
        if written.is_err() && !has_row {
            let _ = fs::remove_file(&sidecar);
        }
        set_aside = written?.or(set_aside.take());
        has_row = true;
        Ok(())
    };
    let status = wait(child, write_every, || {
        // Said at the end, if it goes wrong then too.
        let _ = write(&meter.so_far().record, &meter.provenance());
    });
    let status = status.map_err(|source| CarbonError::Program { program, source })?;
    let (record, provenance) = meter.finish();
    let trouble = write(&record, &provenance).err();
    Ok(Tracked { status, record, provenance, trouble, set_aside })
}

/// Whether the file can be written, without making one: an empty one would stay if this process was killed.
fn check_writable(csv: &Path) -> io::Result<()> {
    if csv.exists() {
        return fs::OpenOptions::new().append(true).open(csv).map(drop);
    }
    greentune_durable::check_writable(csv)
}

/// Waits for `child`, and calls `now_and_then` meanwhile: at once, soon, and then every `every`.
fn wait(mut child: Child, every: Duration, mut now_and_then: impl FnMut()) -> io::Result<ExitStatus> {
    let (tell, ended) = mpsc::channel();
    let waiter = thread::Builder::new().name("tracked-program".into()).spawn(move || {
        let status = child.wait();
        // The receiver is gone only when this function has returned.
        let _ = tell.send(());
        status
    })?;
    let mut pause = FIRST_PAUSE.min(every);
    now_and_then();
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        now_and_then();
        pause = (2 * pause).min(every);
    }
    waiter.join().unwrap_or_else(|_| Err(io::Error::other("the thread that waits for it broke off")))
}
