//! A disk that is full: operations get less room than they need, say so, and do their work once there is room.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    files,
    training::{self, base_run, run_arguments, text_of},
    world::World,
};

/// The whole disk, in MB: a world and an export more.
const DISK_MB: u64 = 48;
/// What a problem is called when the disk is full, and its exit code.
const CODES: [&str; 2] = ["disk.full", "export.no_space"];
const EXIT: i32 = 69;

/// A small file system in memory, which is gone when it is dropped.
pub struct Disk(PathBuf);

/// A new one.
///
/// Errors: this user may not mount file systems.
pub fn small_disk() -> Result<Disk, String> {
    let folder =
        tempfile::Builder::new().prefix("crash-disk").tempdir().map_err(|error| error.to_string())?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_MB}m"), "crash-test"]).arg(folder.path());
    let mounted = mount.output().map_err(|error| format!("cannot run mount: {error}"))?;
    if mounted.status.success() {
        Ok(Disk(folder.keep()))
    } else {
        Err(format!("cannot mount a file system: {}", String::from_utf8_lossy(&mounted.stderr).trim()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

/// Each operation on the small disk, with a random part of the room that it needs.
pub fn round(world: &mut World, disk: &Disk) -> Result<(), String> {
    let mut small = World::made_in(&disk.0, &world.binary(), world.random.bits())?;
    let outcome = operations(&mut small, disk);
    outcome.map_err(|fault| format!("{fault}; done on the small disk: {}", small.history()))
}

fn operations(world: &mut World, disk: &Disk) -> Result<(), String> {
    let base = base_run(world)?;
    let run = training::new_run(world, "p", "small")?;
    let (raw, valid) = (text_of(&world.input("raw.jsonl")), text_of(&world.input("valid.jsonl")));
    let new = run_arguments(world, "p", "second");
    let new: Vec<_> = new.iter().map(String::as_str).collect();
    let model = text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/base-model"));
    // The most room that each gets, in KB: about what it needs.
    let tried: [(u64, Vec<&str>); 7] = [
        (900, vec!["--project", "p", "data", "prepare", &raw, "--to", "prepared", "--force", "--seed", "1"]),
        (24, vec!["--project", "p", "emissions", "track", "--to", "metered/small.csv", "--", "true"]),
        (
            5000,
            vec![
                "--project",
                "p",
                "export",
                &base,
                "--stage",
                "1",
                "--to",
                "x",
                "--format",
                "huggingface",
                "--merge",
            ],
        ),
        (24, vec!["--project", "p", "evaluate", &base, "--stage", "1", "--test", &valid, "--generate", "1"]),
        (48, new),
        (60, vec!["new", "made", "--base-model", &model]),
        (1800, vec!["--project", "p", "train", &run]),
    ];
    for (most, arguments) in tried {
        with_little_room(world, disk, most, &arguments)?;
    }
    training::finish(world, &run)
}

fn with_little_room(world: &mut World, disk: &Disk, most_kb: u64, arguments: &[&str]) -> Result<(), String> {
    let before = files::snapshot(&disk.0);
    let room = 1024 * world.random.below(most_kb);
    let filler = disk.0.join("filler");
    fill(&disk.0, &filler, room).map_err(|error| format!("cannot fill the disk: {error}"))?;
    let ended = world.run(&[&["--json"], arguments].concat())?;
    world.wait_for_workers()?;
    fs::remove_file(&filler).map_err(|error| error.to_string())?;
    let what = format!("with {room} bytes free");
    let is_said = CODES.iter().any(|code| ended.stderr.contains(code));
    let is_done = ended.code == Some(0);
    let is_refused = ended.code == Some(EXIT) && is_said;
    if !is_done && !is_refused {
        return Err(format!("{what} it ended with {:?} and {:?}", ended.code, ended.stderr.trim()));
    }
    world.struck += u64::from(!is_done);
    let mut wrong = files::half_files(&disk.0);
    let is_its_own = |path: &Path| {
        let text = path.to_string_lossy();
        ["home", "prepared", "quality_reports", "metered", "small", "second", "filler", "/evaluation"]
            .iter()
            .any(|own| text.contains(own))
    };
    wrong.extend(files::damaged(&before, &files::snapshot(&disk.0), &is_its_own));
    if !wrong.is_empty() {
        return Err(format!("{what}: {}", wrong.join(", ")));
    }
    if !is_done && !arguments.contains(&"train") {
        world.json(arguments)?;
        world.check_nothing_left()?;
    }
    Ok(())
}

/// Leaves `room` bytes free on the disk of `folder`.
fn fill(folder: &Path, filler: &Path, room: u64) -> Result<(), std::io::Error> {
    let stats = rustix::fs::statvfs(folder)?;
    let free = stats.f_bavail * stats.f_frsize;
    File::create(filler)?.write_all(&vec![1; free.saturating_sub(room) as usize])
}
