//! NVIDIA GPUs through NVML, which is loaded when the meter starts: a machine without it only has no GPUs.

use nvml_wrapper::{Device, Nvml, error::NvmlError};

use super::{GpuInfo, GpuPort, GpuReading};

/// NVML and how far the use by processes was read.
#[derive(Debug)]
pub(crate) struct Nvidia {
    nvml: Nvml,
    gpus: Vec<GpuInfo>,
    /// Time of the last sample of use that was read per GPU, in µs of NVML's clock.
    seen_us: Vec<u64>,
}

impl Nvidia {
    /// NVML; or, in words, why there is none.
    pub fn open() -> Result<Self, String> {
        let refuse = |error: NvmlError| format!("NVML: {error}; no NVIDIA GPU is counted");
        let nvml = Nvml::init().map_err(refuse)?;
        let count = nvml.device_count().map_err(refuse)?;
        let gpus: Vec<GpuInfo> = (0..count).map(|index| info(&nvml, index)).collect();
        if gpus.is_empty() {
            return Err("NVML: no GPU".into());
        }
        Ok(Self { seen_us: vec![0; gpus.len()], nvml, gpus })
    }
}

impl GpuPort for Nvidia {
    fn list(&self) -> Vec<GpuInfo> {
        self.gpus.clone()
    }

    fn read(&mut self, index: usize, with_processes: bool) -> GpuReading {
        let Ok(gpu) = self.nvml.device_by_index(index as u32) else { return GpuReading::default() };
        let milliwatts = |milliwatts| f64::from(milliwatts) / 1000.0;
        GpuReading {
            energy_uj: gpu.total_energy_consumption().ok().map(|mj| mj.saturating_mul(1000)),
            power_w: gpu.power_usage().ok().map(milliwatts),
            load: gpu.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
            processes: if with_processes { processes(&gpu, &mut self.seen_us[index]) } else { None },
        }
    }
}

fn info(nvml: &Nvml, index: u32) -> GpuInfo {
    let Ok(gpu) = nvml.device_by_index(index) else {
        return GpuInfo { name: format!("GPU {index}"), ..GpuInfo::default() };
    };
    GpuInfo {
        name: gpu.name().unwrap_or_else(|_| format!("GPU {index}")),
        uuid: gpu.uuid().unwrap_or_default(),
        is_split: gpu.mig_mode().is_ok_and(|mode| mode.current == 1),
    }
}

/// Use of the multiprocessors by process, in per cent, one entry per sample since the last look.
fn processes(gpu: &Device<'_>, seen_us: &mut u64) -> Option<Vec<(u32, u32)>> {
    let samples = match gpu.process_utilization_stats(*seen_us) {
        Ok(samples) => samples,
        // NVML's word for "no process has used it since".
        Err(NvmlError::NotFound) => Vec::new(),
        Err(_) => return None,
    };
    *seen_us = samples.iter().map(|sample| sample.timestamp).fold(*seen_us, u64::max);
    Some(samples.iter().map(|sample| (sample.pid, sample.sm_util)).collect())
}
