//! What metering this machine each second costs: `meter_overhead SECONDS [LOAD_THREADS [process | PID]]`.
//!
//! Prints JSON: processor time of the meter's thread, growth of resident memory, time to start, and the energy.
//! The load keeps LOAD_THREADS threads busy (none by default); the process is this one, or PID, where
//! the share of one is wanted.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{
    fs, hint,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use greentune_carbon::{
    Host, Meter, MeterConfig,
    intensity::{GridSource, Place},
    memory,
};
use greentune_core_config::settings::TrackingMode;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().unwrap_or_else(|| "20".into()).parse()?;
    let threads: usize = arguments.next().unwrap_or_else(|| "0".into()).parse()?;
    let mode = arguments.next().unwrap_or_default();
    let is_over = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            })
        })
        .collect();
    let resident = || memory::resident(&Host::default()).unwrap_or_default();
    let before = resident();
    let place = Place { country_iso_code: "FRA".into(), region: None, cloud: None };
    let mut config = MeterConfig::new("overhead", "overhead", GridSource::yearly(&place));
    config.process = mode.parse().ok();
    if mode == "process" || config.process.is_some() {
        config.tracking_mode = TrackingMode::Process;
    }
    let begin = Instant::now();
    let meter = Meter::start(config)?;
    let start_ms = begin.elapsed().as_secs_f64() * 1000.0;
    thread::sleep(Duration::from_secs_f64(seconds));
    let meter_cpu_seconds = thread_seconds("carbon-meter");
    let grown = resident().saturating_sub(before);
    let (record, provenance) = meter.finish();
    is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        let _ = worker.join();
    }
    let result = serde_json::json!({
        "start_ms": start_ms,
        "seconds": record.duration,
        "meter_cpu_seconds": meter_cpu_seconds,
        "meter_percent_of_a_core": meter_cpu_seconds.map(|used| 100.0 * used / record.duration),
        "resident_growth_mb": grown as f64 / 1e6,
        "energy_wh": record.energy_consumed * 1000.0,
        "cpu_wh": record.cpu_energy * 1000.0,
        "ram_wh": record.ram_energy * 1000.0,
        "range_wh": provenance.energy_range_kwh.map(|range| range.map(|kwh| kwh * 1000.0)),
    });
    #[allow(clippy::print_stdout)]
    {
        println!("{result}");
    }
    Ok(())
}

/// Processor time of this process's thread of that name, to the nanosecond (`schedstat`).
fn thread_seconds(name: &str) -> Option<f64> {
    let mut threads =
        fs::read_dir(Path::new("/proc/self/task")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_wanted = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let thread = threads.find(|path| is_wanted(path))?;
    let text = fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}
