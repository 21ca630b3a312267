//! How time and memory grow with what is read: records, turns, columns, keys, bytes, rows of emissions, events, tensors.
//!
//! usage: `limits [LARGEST]` (1 000 000 when absent); writes files of growing sizes into a temporary folder, reads each as
//! greentune does, and prints a Markdown table. A size that is refused says so: the refusal is timed.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use greentune_carbon::{aggregate::aggregate, equivalence::EquivalenceTable, summary::summarize};
use greentune_core_config::{
    layout::{ProjectLayout, RunLayout},
    manifest::FORMAT_VERSION,
    settings::Settings,
};
use greentune_model_folder::{ModelWeights, SINGLE_FILE};
use greentune_run_folder::{LocalLiveness, RunView};
use greentune_text_data::{Dataset, Encoder};
use jiff::Timestamp;
use serde_json::json;

type Done = Result<(), Box<dyn Error>>;

/// Something that is read.
struct Reading {
    what: &'static str,
    /// Writes it in a size.
    write: fn(&Place, usize) -> Done,
    read: fn(&Place) -> Done,
}

const READINGS: &[Reading] = &[
    Reading {
        what: "records of a data set",
        write: |place, size| place.data("jsonl", &records(size)),
        read: load,
    },
    Reading {
        what: "turns of a conversation",
        write: |place, size| place.data("jsonl", &turns(size)),
        read: load,
    },
    Reading {
        what: "columns of a CSV",
        write: |place, size| place.data("csv", &columns(size)),
        read: load_csv,
    },
    Reading {
        what: "keys of a JSON record",
        write: |place, size| place.data("jsonl", &keys(size)),
        read: load,
    },
    Reading { what: "bytes of a record", write: |place, size| place.data("jsonl", &bytes(size)), read: load },
    Reading {
        what: "runs in a file of emissions, added up",
        write: |place, size| place.emissions(&emission_runs(size)),
        read: add_up,
    },
    Reading {
        what: "rows of a stage's emissions, summary",
        write: |place, size| place.emissions(&emission_rows(size)),
        read: summary,
    },
    Reading {
        what: "columns of a file of emissions, added up",
        write: |place, size| place.emissions(&emission_columns(size)),
        read: add_up,
    },
    Reading {
        what: "steps in a run's events, a look",
        write: |place, size| place.events(&steps(size)),
        read: look,
    },
    Reading {
        what: "epochs in a run's events, a look",
        write: |place, size| place.events(&epochs(size)),
        read: look,
    },
    Reading {
        what: "tensors in a safetensors header",
        write: |place, size| place.tensors(size),
        read: |place| {
            ModelWeights::open(&place.folder)?;
            Ok(())
        },
    },
];

fn main() -> Done {
    let largest = std::env::args().nth(1).map_or(Ok(1_000_000), |size| size.parse())?;
    let folder = tempfile::tempdir()?;
    let place = Place::new(&fs::canonicalize(folder.path())?)?;
    println!("| what | size | time | per item | memory |");
    println!("|---|---|---|---|---|");
    for Reading { what, write, read } in READINGS {
        for size in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= largest) {
            write(&place, size)?;
            forget_peak();
            let before = memory("VmRSS:");
            let start = Instant::now();
            let refusal = read(&place).err();
            let seconds = start.elapsed().as_secs_f64();
            let grown = memory("VmHWM:").zip(before).map(|(peak, before)| peak.saturating_sub(before));
            let grown = grown.map_or(String::from("?"), |kib| format!("{:.0} MB", kib as f64 * 1024.0 / 1e6));
            let each = match &refusal {
                None => format!("{:.2} µs", seconds * 1e6 / size as f64),
                Some(refusal) => {
                    format!("refused: {}", refusal.to_string().chars().take(90).collect::<String>())
                }
            };
            println!("| {what} | {} | {seconds:.3} s | {each} | {grown} |", grouped(size));
        }
    }
    Ok(())
}

/// The folders that are written to: a data set's, a model's, and a run's.
struct Place {
    folder: PathBuf,
    run: RunLayout,
    settings: Settings,
    encoder: Encoder,
}

impl Place {
    fn new(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/base-model");
        let mut settings = Settings::default();
        settings.training.max_seq_length = 64;
        let encoder = Encoder::new(&model, &settings, Timestamp::UNIX_EPOCH)?;
        let run = ProjectLayout::new(folder).run("large-20260101-000000");
        fs::create_dir_all(run.folder())?;
        fs::create_dir_all(folder.join("emissions"))?;
        let stage = json!({"stage": 1, "status": "completed", "total_steps": 9, "steps_done": 9});
        let manifest = json!({
            "format_version": FORMAT_VERSION, "greentune_version": "0.1.0", "run_id": run.run_id(), "run_name": "large",
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "status": "interrupted",
            "platform": {"kind": "local"}, "settings": Settings::default(), "sources": {},
            "data": {"train": "", "validation": ""}, "base_model_path": "", "input_hashes": {}, "stages": [stage],
        });
        fs::write(run.manifest(), manifest.to_string())?;
        Ok(Self { folder: folder.into(), run, settings, encoder })
    }

    fn data(&self, extension: &str, text: &str) -> Done {
        Ok(fs::write(self.folder.join("data").with_extension(extension), text)?)
    }

    fn load(&self, name: &str) -> Done {
        let spill = self.folder.join("spill");
        let dataset = Dataset::load(&self.folder.join(name), &self.settings, &self.encoder, &spill)?;
        if dataset.counts.kept == 0 { Err("every record is left out".into()) } else { Ok(()) }
    }

    fn emissions(&self, text: &str) -> Done {
        Ok(fs::write(self.run.emissions_csv(1), text)?)
    }

    fn events(&self, text: &str) -> Done {
        Ok(fs::write(self.run.events(), text)?)
    }

    /// A file of empty tensors.
    fn tensors(&self, size: usize) -> Done {
        let mut header = String::from("{");
        for tensor in 0..size {
            let comma = if tensor == 0 { "" } else { "," };
            write!(
                header,
                "{comma}\"t{tensor}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"
            )?;
        }
        header.push('}');
        let length = (header.len() as u64).to_le_bytes();
        Ok(fs::write(self.folder.join(SINGLE_FILE), [&length[..], header.as_bytes()].concat())?)
    }
}

fn load(place: &Place) -> Done {
    place.load("data.jsonl")
}

fn load_csv(place: &Place) -> Done {
    place.load("data.csv")
}

fn add_up(place: &Place) -> Done {
    aggregate(&place.folder.join("emissions"), &EquivalenceTable::default())?;
    Ok(())
}

fn summary(place: &Place) -> Done {
    summarize(&place.run, &EquivalenceTable::default())?;
    Ok(())
}

fn look(place: &Place) -> Done {
    RunView::open(place.run.clone(), &LocalLiveness)?;
    Ok(())
}

fn records(size: usize) -> String {
    "{\"instruction\":\"Add.\",\"output\":\"three\"}\n".repeat(size)
}

fn turns(size: usize) -> String {
    let role = |turn: usize| if turn.is_multiple_of(2) { "user" } else { "assistant" };
    let turn = |turn| format!("{{\"role\":\"{}\",\"content\":\"x\"}}", role(turn));
    format!("{{\"messages\":[{}]}}\n", joined(size, turn))
}

fn columns(size: usize) -> String {
    let names = joined(size, |column| format!("c{column}"));
    format!("instruction,output,{names}\na,b,{}\n", ",".repeat(size - 1))
}

fn keys(size: usize) -> String {
    format!("{{\"instruction\":\"a\",\"output\":\"b\",{}}}\n", joined(size, |key| format!("\"c{key}\":1")))
}

fn bytes(size: usize) -> String {
    format!("{{\"instruction\":\"a\",\"output\":\"{}\"}}\n", "ab ".repeat(size / 3))
}

const EMISSIONS: &str = "timestamp,run_id,duration,emissions,energy_consumed,country_iso_code";

fn emission_runs(size: usize) -> String {
    let row = |run| format!("2026-01-02T03:04:05,run{run},60.0,0.001,0.002,DEU\n");
    format!("{EMISSIONS}\n{}", (0..size).map(row).collect::<String>())
}

fn emission_rows(size: usize) -> String {
    let row = "2026-01-02T03:04:05,large-20260101-000000,60.0,0.001,0.002,DEU\n";
    format!("{EMISSIONS}\n{}", row.repeat(size))
}

fn emission_columns(size: usize) -> String {
    let names = joined(size, |column| format!("c{column}"));
    format!("{EMISSIONS},{names}\n2026-01-02T03:04:05,run,60.0,0.001,0.002,DEU{}\n", ",1".repeat(size))
}

fn steps(size: usize) -> String {
    let line = |seq: usize| {
        format!(
            "{{\"seq\":{seq},\"at\":\"2026-01-02T03:04:05Z\",\"kind\":\"step\",\"stage\":1,\"step\":{seq},\"total_steps\":{size},\
             \"train_loss\":1.5,\"learning_rate\":0.001,\"gradient_norm\":1.0,\"tokens\":64,\"tokens_per_second\":1000.0}}\n"
        )
    };
    (0..size).map(line).collect()
}

fn epochs(size: usize) -> String {
    let line = |seq: usize| {
        format!(
            "{{\"seq\":{seq},\"at\":\"2026-01-02T03:04:05Z\",\"kind\":\"epoch_finished\",\"stage\":1,\"step\":{seq},\"epoch\":{seq},\
             \"total_epochs\":{size},\"train_loss\":1.5,\"validation_loss\":1.5,\"accuracy\":0.5,\"seconds\":1.0}}\n"
        )
    };
    (0..size).map(line).collect()
}

fn joined(size: usize, item: impl Fn(usize) -> String) -> String {
    (0..size).map(item).collect::<Vec<_>>().join(",")
}

/// `1,000,000`.
fn grouped(size: usize) -> String {
    let digits = size.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Lets the system measure the peak of memory anew (on Linux).
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// A line of the process's memory in KiB, where the system tells (Linux).
fn memory(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
