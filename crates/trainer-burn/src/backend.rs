//! The one place where backends are instantiated, and where the device is chosen at run time.

use burn::backend::{Autodiff, Flex, flex::FlexDevice};
use greentune_carbon::MeterEnvironment;
use greentune_core_config::{
    agreement::{AgreementFindings, AgreementTask},
    evaluation::{ClassificationReport, EvaluationReport, RecordOutputs},
    generation::{GenerateTask, GeneratedText},
    layout::RunLayout,
    manifest::RunManifest,
    port::RunReporter,
    settings::{Device, Settings, Task},
    task::{DeviceReport, EvaluateTask, PlanFindings, PlanTask},
    tuning::{TuneFindings, TuneTask},
};

use crate::{error::TrainError, evaluate, ops::Packing, stage::Outcome, training, vision};

// 0.21 is the last burn with candle (docs/decisions/0001); it stays as a second opinion on the processor.
#[cfg(feature = "candle")]
#[allow(deprecated)]
mod candle {
    impl crate::ops::Ops for burn::backend::Candle {}
    impl crate::ops::image::ImageOps for burn::backend::Candle {}
}
#[cfg(any(feature = "wgpu", feature = "metal"))]
impl crate::ops::Ops for burn::backend::Wgpu {}
#[cfg(any(feature = "wgpu", feature = "metal"))]
impl crate::ops::image::ImageOps for burn::backend::Wgpu {}
#[cfg(feature = "cuda")]
impl crate::ops::Ops for burn::backend::Cuda {}
#[cfg(feature = "cuda")]
impl crate::ops::image::ImageOps for burn::backend::Cuda {}

/// A device that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    Cpu,
    #[cfg(feature = "candle")]
    Candle,
    #[cfg(any(feature = "wgpu", feature = "metal"))]
    Wgpu,
    #[cfg(feature = "cuda")]
    Cuda,
}

/// Runs `$body` with the backend `$backend` and its device `$device` for the chosen device: each arm is one
/// instantiation of everything generic.
macro_rules! on {
    ($chosen:expr, |$backend:ident, $device:ident| $body:expr) => {
        match $chosen {
            Chosen::Cpu => {
                type $backend = Autodiff<Flex>;
                let $device = FlexDevice;
                $body
            }
            #[cfg(feature = "candle")]
            Chosen::Candle => {
                #[allow(deprecated)]
                type $backend = Autodiff<burn::backend::Candle>;
                #[allow(deprecated)]
                let $device = burn::backend::candle::CandleDevice::Cpu;
                $body
            }
            #[cfg(any(feature = "wgpu", feature = "metal"))]
            Chosen::Wgpu => {
                type $backend = Autodiff<burn::backend::Wgpu>;
                let $device = burn::backend::wgpu::WgpuDevice::default();
                $body
            }
            #[cfg(feature = "cuda")]
            Chosen::Cuda => {
                type $backend = Autodiff<burn::backend::Cuda>;
                let $device = burn::backend::cuda::CudaDevice::default();
                $body
            }
        }
    };
}

/// Trains `stages` of a run on the device that its settings ask for; `surroundings` are its meter's.
pub fn train(
    manifest: &RunManifest,
    layout: &RunLayout,
    stages: &[u8],
    surroundings: &MeterEnvironment,
    reporter: &mut dyn RunReporter,
) -> Result<Outcome, TrainError> {
    let chosen = choose(&manifest.settings)?;
    let name = name_of(chosen);
    if manifest.settings.task() == Task::ImageClassification {
        if manifest.settings.training.device == Device::Candle {
            let found = String::from("it has no gradient of a max pool, which image classifiers need");
            return Err(TrainError::Device { device: Device::Candle.to_string(), found });
        }
        return on!(chosen, |B, device| vision::run::<B>(
            manifest,
            layout,
            stages,
            surroundings,
            reporter,
            device,
            &name
        ));
    }
    training::plan::check_memory(manifest, layout, stages, chosen == Chosen::Cpu)?;
    on!(chosen, |B, device| training::run::<B>(
        manifest,
        layout,
        stages,
        surroundings,
        reporter,
        device,
        &name
    ))
}

/// Evaluates on the device that the run's settings ask for.
pub fn evaluate(
    task: &EvaluateTask,
    manifest: &RunManifest,
    layout: &RunLayout,
) -> Result<(Vec<EvaluationReport>, Vec<RecordOutputs>), TrainError> {
    let chosen = choose(&manifest.settings)?;
    on!(chosen, |B, device| evaluate::of_run::<B>(task, manifest, layout, &device))
}

/// Has models write text, on the device that the first one's settings ask for.
pub fn generate(
    task: &GenerateTask,
    listener: evaluate::Listener<'_>,
) -> Result<Vec<Vec<GeneratedText>>, TrainError> {
    let Some(first) = task.models.first() else { return Ok(Vec::new()) };
    let chosen = choose(&first.settings)?;
    on!(chosen, |B, device| evaluate::generate::of_task::<B>(task, &device, listener))
}

/// Says how far an exported model agrees with the trained one, on the device that the trained one's settings ask for.
pub fn agree(task: &AgreementTask) -> AgreementFindings {
    let chosen = match choose(&task.trained.settings) {
        Ok(chosen) => chosen,
        Err(error) => return AgreementFindings::NotComparable { why: error.to_string() },
    };
    on!(chosen, |B, device| evaluate::agreement::of_task::<B>(task, &device, chosen == Chosen::Cpu))
}

/// Evaluates the image classifier of a run on the device that its settings ask for.
pub fn classify(
    task: &EvaluateTask,
    manifest: &RunManifest,
    layout: &RunLayout,
) -> Result<ClassificationReport, TrainError> {
    let chosen = choose(&manifest.settings)?;
    on!(chosen, |B, device| vision::evaluate::of_run::<B>(task, manifest, layout, &device))
}

/// Finds out what training a run will need on the device that its settings ask for.
pub fn plan(task: &PlanTask, manifest: &RunManifest, layout: &RunLayout) -> Result<PlanFindings, TrainError> {
    let chosen = choose(&manifest.settings)?;
    let (name, on_cpu) = (name_of(chosen), chosen == Chosen::Cpu);
    on!(chosen, |B, device| training::plan::find::<B>(task, manifest, layout, &device, &name, on_cpu))
}

/// Tries learning rates on the device that the run's settings ask for; `surroundings` are its meter's.
pub fn tune(
    task: &TuneTask,
    manifest: &RunManifest,
    layout: &RunLayout,
    surroundings: &MeterEnvironment,
) -> Result<TuneFindings, TrainError> {
    let chosen = choose(&manifest.settings)?;
    let name = name_of(chosen);
    let stages: Vec<u8> = (1..=manifest.settings.training.num_stages).collect();
    let mut largest = manifest.clone();
    let batch_size = task.batch_sizes.iter().copied().max().unwrap_or(0);
    let training = &mut largest.settings.training;
    training.stage1.batch_size = training.stage1.batch_size.max(batch_size);
    training.stage2.batch_size = training.stage2.batch_size.max(batch_size);
    training::plan::check_memory(&largest, layout, &stages, chosen == Chosen::Cpu)?;
    on!(chosen, |B, device| training::tune::find::<B>(task, manifest, layout, surroundings, &device, &name))
}

/// Every device kind and whether this binary can train on it here.
pub fn devices() -> Vec<DeviceReport> {
    [Device::Cpu, Device::Cuda, Device::Metal, Device::Wgpu, Device::Candle]
        .into_iter()
        .map(|device| {
            let (available, detail) = match probe(device) {
                Ok(chosen) => (true, name_of(chosen)),
                Err(reason) => (false, reason),
            };
            DeviceReport { device: device.to_string(), available, detail }
        })
        .collect()
}

/// The device for a run's settings; `auto` takes CUDA, Metal, wgpu or the processor, the first that is present.
fn choose(settings: &Settings) -> Result<Chosen, TrainError> {
    let device = settings.training.device;
    let chosen = if device == Device::Auto {
        let gpus = [Device::Cuda, Device::Metal, Device::Wgpu];
        let present = |device| probe(device).ok().filter(|chosen| !computes_in_software(*chosen));
        gpus.into_iter().find_map(present).unwrap_or(Chosen::Cpu)
    } else {
        probe(device).map_err(|found| TrainError::Device { device: device.to_string(), found })?
    };
    let packing = Packing::of(settings.base_model.quantization, settings.training.precision);
    match packing {
        Some(packing) if !unpacks(chosen) => Err(TrainError::Packing { device: name_of(chosen), packing }),
        _ => Ok(chosen),
    }
}

/// Whether a device is a driver that computes on the processor: it answers as a GPU does, and is many times slower
/// than the processor's own kernels.
fn computes_in_software(chosen: Chosen) -> bool {
    match chosen {
        #[cfg(any(feature = "wgpu", feature = "metal"))]
        Chosen::Wgpu => wgpu_adapter().device_type == wgpu::DeviceType::Cpu,
        _ => false,
    }
}

/// What wgpu's default device is. Sets it up the first time, and panics where there is none.
#[cfg(any(feature = "wgpu", feature = "metal"))]
fn wgpu_adapter() -> &'static wgpu::AdapterInfo {
    use burn::backend::wgpu::{WgpuDevice, graphics::AutoGraphicsApi, init_setup};
    static ADAPTER: std::sync::OnceLock<wgpu::AdapterInfo> = std::sync::OnceLock::new();
    ADAPTER.get_or_init(|| {
        init_setup::<AutoGraphicsApi>(&WgpuDevice::default(), Default::default()).adapter.get_info()
    })
}

/// Whether a device can compute with packed weights.
fn unpacks(chosen: Chosen) -> bool {
    match chosen {
        // candle has no shifts of integers.
        #[cfg(feature = "candle")]
        Chosen::Candle => false,
        _ => true,
    }
}

/// Tries a device with a small product. burn reports an absent device as a panic, so it is tried on a thread of
/// its own, whose panic becomes the reason.
fn probe(device: Device) -> Result<Chosen, String> {
    let chosen = built_in(device)?;
    if chosen == Chosen::Cpu {
        return Ok(chosen);
    }
    std::thread::spawn(move || {
        #[cfg(any(feature = "wgpu", feature = "metal"))]
        if chosen == Chosen::Wgpu {
            wgpu_adapter();
        }
        on!(chosen, |B, device| {
            use burn::tensor::{Tensor, backend::AutodiffBackend};
            type Inner = <B as AutodiffBackend>::InnerBackend;
            let x = Tensor::<Inner, 2>::ones([2, 2], &device);
            x.clone().matmul(x).into_data().iter::<f32>().sum::<f32>()
        })
    })
    .join()
    .map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| String::from("the driver gave no reason"));
        format!("no such device answers: {}", text.lines().next().unwrap_or_default())
    })
    .and_then(|sum| {
        if (sum - 8.0).abs() < 1e-3 { Ok(chosen) } else { Err(format!("it computes wrong results: {sum}")) }
    })
}

fn built_in(device: Device) -> Result<Chosen, String> {
    let absent = |feature: &str| Err(absent(feature));
    match device {
        Device::Auto | Device::Cpu => Ok(Chosen::Cpu),
        #[cfg(feature = "candle")]
        Device::Candle => Ok(Chosen::Candle),
        #[cfg(not(feature = "candle"))]
        Device::Candle => absent("candle"),
        #[cfg(any(feature = "wgpu", feature = "metal"))]
        Device::Wgpu => Ok(Chosen::Wgpu),
        #[cfg(not(any(feature = "wgpu", feature = "metal")))]
        Device::Wgpu => absent("wgpu"),
        #[cfg(all(feature = "metal", target_os = "macos"))]
        Device::Metal => Ok(Chosen::Wgpu),
        #[cfg(not(all(feature = "metal", target_os = "macos")))]
        Device::Metal => absent("metal"),
        #[cfg(feature = "cuda")]
        Device::Cuda => Ok(Chosen::Cuda),
        #[cfg(not(feature = "cuda"))]
        Device::Cuda => absent("cuda"),
    }
}

/// What this build has instead of the device of `feature`, and how to get one that has it.
fn absent(feature: &str) -> String {
    let built = [
        ("candle", cfg!(feature = "candle")),
        ("wgpu", cfg!(any(feature = "wgpu", feature = "metal"))),
        ("metal", cfg!(all(feature = "metal", target_os = "macos"))),
        ("cuda", cfg!(feature = "cuda")),
    ];
    let others = built.iter().filter(|(_, is_here)| *is_here).map(|(name, _)| format!(", {name}"));
    format!(
        "this binary was built without the feature `{feature}`; it has cpu{}; `cargo build --release --features {feature}` \
         makes one that has it",
        others.collect::<String>()
    )
}

fn name_of(chosen: Chosen) -> String {
    match chosen {
        Chosen::Cpu => format!("cpu (flex, {} threads)", rayon::current_num_threads()),
        #[cfg(feature = "candle")]
        Chosen::Candle => String::from("cpu (candle)"),
        #[cfg(any(feature = "wgpu", feature = "metal"))]
        Chosen::Wgpu => {
            let adapter = wgpu_adapter();
            let kind = if computes_in_software(chosen) { "cpu" } else { "gpu" };
            format!("{kind} (wgpu: {}, {})", adapter.name, adapter.backend)
        }
        #[cfg(feature = "cuda")]
        Chosen::Cuda => String::from("gpu (cuda)"),
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;

    /// Needs a Vulkan driver, as `tests/it/backends.rs` does.
    #[test]
    fn auto_passes_over_a_driver_that_computes_in_software() {
        let wgpu = probe(Device::Wgpu).unwrap();
        let auto = choose(&Settings::default()).unwrap();
        let name = name_of(wgpu);
        assert_eq!(computes_in_software(wgpu), name.starts_with("cpu"), "{name}");
        if computes_in_software(wgpu) {
            assert_ne!(auto, wgpu, "{name}");
        } else {
            assert_ne!(auto, Chosen::Cpu, "{name}");
        }
    }
}
