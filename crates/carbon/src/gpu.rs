//! NVIDIA GPUs through NVML, which is loaded when the meter starts: a machine without it only has no GPUs.

use nvml_wrapper::Nvml;

/// What the counters are worth.
pub(crate) const SOURCE: &str = "NVML. Uncertainty: assumed; NVIDIA states 5 % for power readings, short windows and \
     sampling inside the GPU add to it";

/// See [`SOURCE`].
pub(crate) const UNCERTAINTY: f64 = 0.1;

/// One look at a GPU; what it does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GpuReading {
    /// Energy since the driver was loaded, in mJ (Volta and later).
    pub energy_mj: Option<u64>,
    /// Power now, in W.
    pub power_w: Option<f64>,
    /// Share of the last moments in which a kernel ran, in `[0, 1]`.
    pub load: Option<f64>,
}

/// The GPUs of the machine.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    nvml: Option<Nvml>,
    /// Names in NVML's order.
    pub names: Vec<String>,
}

impl Gpus {
    /// The GPUs that NVML knows; or, in words, why there are none.
    pub fn probe() -> Result<Self, String> {
        let nvml = Nvml::init().map_err(|error| format!("NVML: {error}; no GPU is counted"))?;
        let count = nvml.device_count().map_err(|error| format!("NVML: {error}; no GPU is counted"))?;
        let name = |index| {
            nvml.device_by_index(index).and_then(|gpu| gpu.name()).unwrap_or_else(|_| format!("GPU {index}"))
        };
        let names: Vec<String> = (0..count).map(name).collect();
        if names.is_empty() { Err("NVML: no GPU".into()) } else { Ok(Self { nvml: Some(nvml), names }) }
    }

    /// One reading per GPU, in the order of `names`.
    pub fn read(&self) -> Vec<GpuReading> {
        let Some(nvml) = &self.nvml else { return Vec::new() };
        (0..self.names.len() as u32).map(|index| read_gpu(nvml, index)).collect()
    }

    /// Such as `8 x NVIDIA H100 80GB HBM3`, as CodeCarbon writes it; empty without a GPU.
    pub fn model(&self) -> String {
        let mut models: Vec<(&str, usize)> = Vec::new();
        for name in &self.names {
            match models.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => models.push((name, 1)),
            }
        }
        models.iter().map(|(name, count)| format!("{count} x {name}")).collect::<Vec<_>>().join(" | ")
    }
}

fn read_gpu(nvml: &Nvml, index: u32) -> GpuReading {
    let Ok(gpu) = nvml.device_by_index(index) else { return GpuReading::default() };
    GpuReading {
        energy_mj: gpu.total_energy_consumption().ok(),
        power_w: gpu.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0),
        load: gpu.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_gpus_are_counted_together() {
        let names = ["A100", "T4", "A100"].map(String::from).to_vec();
        assert_eq!(Gpus { nvml: None, names }.model(), "2 x A100 | 1 x T4");
        assert_eq!(Gpus::default().model(), "");
    }
}
