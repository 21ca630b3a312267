//! Everything that can be read on this machine, and one reading of it all.

use greentune_core_config::settings::TrackingMode;

use crate::{
    Host,
    machine::{Identity, KnownOutsideTree, Machine, Memory, Ticks, Tree},
    meters::{
        gpu::{self, GpuReading, Gpus, OwnShare},
        rapl::{self, Domain, Domains},
    },
};

/// Whose energy is counted.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    /// The machine's, or a process's share.
    pub mode: TrackingMode,
    /// That process; `None` is this one.
    pub process: Option<u32>,
    /// The GPUs by index or UUID; `None`: all.
    pub gpu_ids: Option<&'a [String]>,
}

/// What was found on a machine.
#[derive(Debug)]
pub(crate) struct Sensors {
    machine: Machine,
    /// Whether a process's share is wanted, and whose: `None` is this one.
    mode: TrackingMode,
    process: Option<u32>,
    outsiders: KnownOutsideTree,
    /// What does not change.
    pub identity: Identity,
    /// RAPL counters; none when they cannot be read.
    pub domains: Domains,
    /// GPUs.
    pub gpus: Gpus,
    /// What was looked for and not found.
    pub notes: Vec<String>,
}

/// One look at everything; what could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Readings {
    /// Seconds since the meter started in which the machine was awake.
    pub at_seconds: f64,
    /// Seconds since then in which it slept.
    pub asleep_seconds: f64,
    /// RAPL counters of the processor in the order of the domains.
    pub processor_uj: Vec<Option<u64>>,
    /// Likewise of memory.
    pub memory_uj: Vec<Option<u64>>,
    /// Processor time.
    pub ticks: Option<Ticks>,
    /// The counted process and its descendants; `None` too where no share is wanted.
    pub tree: Option<Tree>,
    /// GPUs in their order.
    pub gpus: Vec<GpuReading>,
    /// Share of each GPU's use that the tree had.
    pub gpu_shares: Vec<OwnShare>,
    /// Memory in use.
    pub memory: Option<Memory>,
}

impl Sensors {
    pub fn probe(host: &Host, counted: &Counted) -> Self {
        let machine = Machine::new(&host.root);
        let identity = machine.identity();
        let mut notes = Vec::new();
        let domains = rapl::domains(&host.root).unwrap_or_else(|why| {
            notes.push(why);
            Domains::default()
        });
        notes.extend(domains.notes.iter().cloned());
        let gpus = Gpus::probe(&host.root, host.nvml, counted.gpu_ids);
        notes.extend(gpus.notes.iter().cloned());
        if let Err(error) = machine.ticks() {
            notes.push(format!("processor load: {error}"));
        }
        notes.extend(limited(machine.cpu_quota(counted.process), identity.threads, counted.mode));
        if domains.is_platform {
            notes.push("RAPL: psys stands in for the packages; it holds memory and more of the board".into());
        } else if identity.ram_total_gb.is_none() && domains.memory.is_empty() {
            notes.push("RAM: its size is unreadable, so it is not counted".into());
        }
        let outsiders = KnownOutsideTree::default();
        let (mode, process) = (counted.mode, counted.process);
        Self { machine, mode, process, outsiders, identity, domains, gpus, notes }
    }

    pub fn read(&mut self, at_seconds: f64, asleep_seconds: f64) -> Readings {
        let tree = match self.mode {
            TrackingMode::Machine => None,
            TrackingMode::Process => self.machine.tree(self.process, &mut self.outsiders),
        };
        let gpus = self.gpus.read(tree.is_some());
        let share = |gpu: &GpuReading| match &tree {
            // A process that ended uses nothing.
            None => OwnShare::Known(0.0),
            Some(tree) => gpu::own_share(gpu.processes.as_deref(), &tree.pids, |pid| self.machine.sees(pid)),
        };
        Readings {
            at_seconds,
            asleep_seconds,
            processor_uj: self.domains.processor.iter().map(Domain::read_uj).collect(),
            memory_uj: self.domains.memory.iter().map(Domain::read_uj).collect(),
            ticks: self.machine.ticks().ok(),
            gpu_shares: gpus.iter().map(share).collect(),
            gpus,
            tree,
            memory: self.machine.memory(),
        }
    }
}

/// A note that the program may use only a part of the processor, which neither counters nor load show.
fn limited(quota: Option<f64>, threads: Option<u32>, mode: TrackingMode) -> Option<String> {
    let (quota, threads) = (quota?, threads?);
    let counted = match mode {
        TrackingMode::Machine => {
            "the whole processor is counted; carbon.tracking_mode = \"process\" counts its share"
        }
        TrackingMode::Process => "its share is that of the whole processor's busy time",
    };
    (quota < f64::from(threads)).then(|| {
        format!("cgroup: cpu.max gives the program {quota:.2} of {threads} hardware threads; {counted}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_below_the_machine_is_said_with_what_is_counted() {
        let said = limited(Some(2.5), Some(64), TrackingMode::Machine).unwrap();
        assert!(said.contains("2.50 of 64 hardware threads; the whole processor is counted"), "{said}");
        let said = limited(Some(2.5), Some(64), TrackingMode::Process).unwrap();
        assert!(said.ends_with("its share is that of the whole processor's busy time"), "{said}");
        for (quota, threads) in [(None, Some(64)), (Some(64.0), Some(64)), (Some(1.0), None)] {
            assert_eq!(limited(quota, threads, TrackingMode::Machine), None);
        }
    }
}
