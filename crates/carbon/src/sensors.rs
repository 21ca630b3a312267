//! Everything that can be read on this machine, and one reading of it all.

use std::path::PathBuf;

use crate::{
    gpu::{GpuReading, Gpus},
    machine::{Identity, Machine, Memory, Ticks},
    rapl::{self, Package},
};

/// Where a meter looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Folder that holds `proc` and `sys`: `/`, or a made-up tree.
    pub root: PathBuf,
    /// Look for NVIDIA GPUs.
    pub nvml: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self { root: PathBuf::from("/"), nvml: true }
    }
}

impl Host {
    /// The processor's name (empty when unknown) and its hardware threads (0 when unknown), as rows of emissions
    /// have them.
    pub fn processor(&self) -> (String, u32) {
        let identity = Machine::new(&self.root).identity();
        (identity.cpu_model, identity.threads.unwrap_or_default())
    }
}

/// What was found on a machine.
#[derive(Debug)]
pub(crate) struct Sensors {
    machine: Machine,
    /// What does not change.
    pub identity: Identity,
    /// RAPL packages; empty when they cannot be read.
    pub packages: Vec<Package>,
    /// GPUs; none when there is no NVML.
    pub gpus: Gpus,
    /// What was looked for and not found.
    pub notes: Vec<String>,
}

/// One look at everything; what could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Readings {
    /// Seconds since the meter started.
    pub at_seconds: f64,
    /// RAPL counters in the order of the packages.
    pub packages_uj: Vec<Option<u64>>,
    /// Processor time.
    pub ticks: Option<Ticks>,
    /// GPUs in NVML's order.
    pub gpus: Vec<GpuReading>,
    /// Memory in use.
    pub memory: Option<Memory>,
}

impl Sensors {
    pub fn probe(host: &Host) -> Self {
        let machine = Machine::new(&host.root);
        let identity = machine.identity();
        let mut notes = Vec::new();
        let packages = rapl::packages(&host.root).unwrap_or_else(|why| {
            notes.push(why);
            Vec::new()
        });
        let gpus =
            if host.nvml { Gpus::probe() } else { Err("NVML: not looked for; no GPU is counted".into()) };
        let gpus = gpus.unwrap_or_else(|why| {
            notes.push(why);
            Gpus::default()
        });
        if let Err(error) = machine.ticks() {
            notes.push(format!("processor load: {error}"));
        }
        if identity.ram_total_gb.is_none() {
            notes.push("RAM: its size is unreadable, so it is not counted".into());
        }
        Self { machine, identity, packages, gpus, notes }
    }

    pub fn read(&self, at_seconds: f64) -> Readings {
        Readings {
            at_seconds,
            packages_uj: self.packages.iter().map(Package::read_uj).collect(),
            ticks: self.machine.ticks().ok(),
            gpus: self.gpus.read(),
            memory: self.machine.memory(),
        }
    }
}
