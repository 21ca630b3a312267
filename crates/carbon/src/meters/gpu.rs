//! GPUs: NVIDIA's through NVML, AMD's through the files of their driver. Apple's have no counter within safe reach.

use std::{collections::HashMap, fmt};

mod amd;
mod nvidia;

use super::evidence::Evidence;

/// Uncertainty of the GPUs' counters.
pub(crate) const EVIDENCE: Evidence = Evidence {
    source: "the GPU's own energy counter or power sensor. Interval: assumed; NVIDIA states 5 % for power readings, and \
             Yang, Adamek and Armour, Part-time Power Measurements (SC24), find sensors that see a part of the time only",
    year: Some(2024),
    factors: [0.9, 1.1],
};

/// What does not change about a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GpuInfo {
    /// Such as `NVIDIA A100`.
    pub name: String,
    /// Such as `GPU-8932f937-…`; empty where there is none.
    pub uuid: String,
    /// Whether it is cut into instances (MIG), whose processes cannot be told apart.
    pub is_split: bool,
}

/// One look at a GPU; what it does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GpuReading {
    /// Energy since the driver was loaded, in µJ.
    pub energy_uj: Option<u64>,
    /// Power now, in W.
    pub power_w: Option<f64>,
    /// Share of the last moments in which a kernel ran, in `[0, 1]`.
    pub load: Option<f64>,
    /// How busy each process kept it since the last look; `None` where that cannot be told.
    pub processes: Option<Vec<(u32, u32)>>,
}

/// Where GPUs are read: a driver, or a replayed trace.
pub(crate) trait GpuPort: fmt::Debug + Send {
    /// The GPUs, in the driver's order.
    fn list(&self) -> Vec<GpuInfo>;
    /// Reads the GPU at `index` of the list; its processes only where they are asked for.
    fn read(&mut self, index: usize, with_processes: bool) -> GpuReading;
}

/// The GPUs that are counted.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    ports: Vec<Box<dyn GpuPort>>,
    /// Port and index in it.
    chosen: Vec<(usize, usize)>,
    /// The GPUs, in the order of the readings.
    pub infos: Vec<GpuInfo>,
    /// What was looked for and not found.
    pub notes: Vec<String>,
}

impl Gpus {
    /// The GPUs under `root` and of NVML, or those of `ids` alone.
    pub fn probe(root: &std::path::Path, nvml: bool, ids: Option<&[String]>) -> Self {
        let mut notes = Vec::new();
        let mut ports: Vec<Box<dyn GpuPort>> = Vec::new();
        let found = if nvml {
            nvidia::Nvidia::open()
        } else {
            Err("NVML: not looked for; no NVIDIA GPU is counted".into())
        };
        match found {
            Ok(port) => ports.push(Box::new(port)),
            Err(why) => notes.push(why),
        }
        ports.extend(amd::Amd::open(root).map(|port| Box::new(port) as Box<dyn GpuPort>));
        Self::of(ports, ids, notes)
    }

    /// The GPUs of `ports`, or those of `ids` alone.
    pub fn of(ports: Vec<Box<dyn GpuPort>>, ids: Option<&[String]>, notes: Vec<String>) -> Self {
        let lists: Vec<Vec<GpuInfo>> = ports.iter().map(|port| port.list()).collect();
        let all: Vec<(usize, usize)> = lists
            .iter()
            .enumerate()
            .flat_map(|(port, list)| (0..list.len()).map(move |index| (port, index)))
            .collect();
        let info = |(port, index): (usize, usize)| &lists[port][index];
        let mut gpus = Self { ports: Vec::new(), chosen: all.clone(), infos: Vec::new(), notes };
        if let Some(ids) = ids {
            gpus.chosen.clear();
            for id in ids {
                let found = all.iter().enumerate().filter(|(index, at)| is_meant(id, *index, info(**at)));
                let found: Vec<(usize, usize)> = found.map(|(_, at)| *at).collect();
                if found.is_empty() {
                    // CUDA, too, takes neither an id that it does not know nor those after it.
                    gpus.notes.push(format!(
                        "GPU {id:?}: none here is called so; it and those after it are not counted"
                    ));
                    break;
                }
                let new = found.into_iter().filter(|at| !gpus.chosen.contains(at));
                gpus.chosen = gpus.chosen.iter().copied().chain(new).collect();
            }
        }
        gpus.infos = gpus.chosen.iter().map(|at| info(*at).clone()).collect();
        gpus.ports = ports;
        gpus
    }

    /// One reading per GPU, in the order of `infos`.
    pub fn read(&mut self, with_processes: bool) -> Vec<GpuReading> {
        let Self { ports, chosen, infos, .. } = self;
        let ask = |info: &GpuInfo| with_processes && !info.is_split;
        chosen.iter().zip(infos).map(|((port, index), info)| ports[*port].read(*index, ask(info))).collect()
    }

    /// Such as `8 x NVIDIA H100 80GB HBM3`, as CodeCarbon writes it; empty without a GPU.
    pub fn model(&self) -> String {
        let mut models: Vec<(&str, usize)> = Vec::new();
        for info in &self.infos {
            match models.iter_mut().find(|(known, _)| *known == info.name) {
                Some((_, count)) => *count += 1,
                None => models.push((&info.name, 1)),
            }
        }
        models.iter().map(|(name, count)| format!("{count} x {name}")).collect::<Vec<_>>().join(" | ")
    }
}

/// Whether `id`, as CUDA_VISIBLE_DEVICES has it, means this GPU: its index, its UUID or the beginning of it, or an
/// instance of a split one, whose energy is not told apart from the others'.
fn is_meant(id: &str, index: usize, info: &GpuInfo) -> bool {
    let id = id.trim();
    match id.parse::<usize>() {
        Ok(number) => number == index,
        Err(_) if id.starts_with("MIG-") => info.is_split,
        Err(_) => !id.is_empty() && info.uuid.starts_with(id),
    }
}

/// Share of a GPU's use that processes had between two looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OwnShare {
    /// In `[0, 1]`.
    Known(f64),
    /// No process used it.
    Idle,
    /// It cannot be told, or only processes that cannot be seen from here used it.
    Unknown,
}

/// The share of the processes `own`, of all that are `seen` in this process's namespace.
pub(crate) fn own_share(
    processes: Option<&[(u32, u32)]>,
    own: &[u32],
    seen: impl Fn(u32) -> bool,
) -> OwnShare {
    let Some(processes) = processes else { return OwnShare::Unknown };
    let mut busy: HashMap<u32, u64> = HashMap::new();
    for (pid, percent) in processes {
        *busy.entry(*pid).or_default() += u64::from(*percent);
    }
    let all: u64 = busy.values().sum();
    if all == 0 {
        return OwnShare::Idle;
    }
    let ours: u64 = own.iter().filter_map(|pid| busy.get(pid)).sum();
    // In a container the driver names processes as the host does.
    if ours == 0 && !busy.keys().any(|pid| seen(*pid)) {
        return OwnShare::Unknown;
    }
    OwnShare::Known(ours as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fake(Vec<GpuInfo>);

    impl GpuPort for Fake {
        fn list(&self) -> Vec<GpuInfo> {
            self.0.clone()
        }

        fn read(&mut self, index: usize, with_processes: bool) -> GpuReading {
            let processes = with_processes.then(Vec::new);
            GpuReading { energy_uj: Some(index as u64), processes, ..GpuReading::default() }
        }
    }

    fn gpu(name: &str, uuid: &str, is_split: bool) -> GpuInfo {
        GpuInfo { name: name.into(), uuid: uuid.into(), is_split }
    }

    fn gpus(ids: Option<&[&str]>) -> Gpus {
        let first = Fake(vec![gpu("A100", "GPU-aa1", false), gpu("T4", "GPU-bb2", false)]);
        let second = Fake(vec![gpu("A100", "GPU-cc3", true)]);
        let ids: Option<Vec<String>> = ids.map(|ids| ids.iter().map(ToString::to_string).collect());
        Gpus::of(vec![Box::new(first), Box::new(second)], ids.as_deref(), vec![])
    }

    #[test]
    fn equal_gpus_are_counted_together() {
        assert_eq!(gpus(None).model(), "2 x A100 | 1 x T4");
        assert_eq!(Gpus::default().model(), "");
    }

    #[test]
    fn a_choice_is_honoured_by_index_and_uuid() {
        let uuids =
            |ids: &[&str]| gpus(Some(ids)).infos.into_iter().map(|info| info.uuid).collect::<Vec<_>>();
        assert_eq!(uuids(&["1", "GPU-aa"]), ["GPU-bb2", "GPU-aa1"]);
        assert_eq!(uuids(&["2", "2"]), ["GPU-cc3"]);
        assert_eq!(uuids(&["MIG-5f"]), ["GPU-cc3"]);
        assert!(uuids(&[]).is_empty());
        let mut unknown = gpus(Some(&["0", "-1", "1"]));
        assert_eq!(unknown.infos.len(), 1);
        assert!(unknown.notes[0].contains("\"-1\""), "{:?}", unknown.notes);
        assert_eq!(unknown.read(false).len(), 1);
    }

    #[test]
    fn processes_of_a_split_gpu_are_not_asked_for() {
        let asked: Vec<bool> = gpus(None).read(true).iter().map(|gpu| gpu.processes.is_some()).collect();
        assert_eq!(asked, [true, true, false]);
    }

    #[test]
    fn a_share_is_of_all_that_used_it() {
        let share = |processes: &[(u32, u32)], own: &[u32]| own_share(Some(processes), own, |pid| pid < 100);
        assert_eq!(share(&[(1, 30), (2, 10), (1, 30), (3, 50)], &[1, 3]), OwnShare::Known(110.0 / 120.0));
        assert_eq!(share(&[(2, 10)], &[1]), OwnShare::Known(0.0));
        assert_eq!(share(&[(2, 0)], &[1]), OwnShare::Idle);
        assert_eq!(share(&[(4000, 10)], &[1]), OwnShare::Unknown);
        assert_eq!(own_share(None, &[1], |_| true), OwnShare::Unknown);
    }
}
