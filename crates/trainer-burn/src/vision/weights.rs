//! Weights of image classifiers in safetensors files, by torchvision's and timm's names and shapes.

use std::path::Path;

use burn::tensor::backend::Backend;

use super::model::{Architecture, Network, Shape, TensorSpec};
use crate::{
    error::TrainError,
    model::{HostTensor, weights},
    ops::image::ImageOps,
};

/// Reads the network `shape` from the file at `path`, every tensor of it.
pub fn load<B: ImageOps>(path: &Path, shape: Shape, device: &B::Device) -> Result<Network<B>, TrainError> {
    let file = weights::WeightFile::open(path)?;
    if shape.architecture == Architecture::SIMPLE_CNN && file.dimensions("bn1.weight").is_err() {
        return Err(TrainError::Model {
            code: "model.earlier_revision",
            path: path.to_path_buf(),
            message: String::from("it holds a simplecnn of the first revision, which had no norms"),
            hint: "Make the run anew. A final model of the first revision can be evaluated, and be vision.pretrained.",
        });
    }
    let mut network = Network::empty(shape);
    for spec in shape.tensors() {
        network.put(&spec, read(&file, path, &spec)?.on(device));
    }
    Ok(network)
}

/// What a training starts from.
#[derive(Debug)]
pub struct Pretrained<B: Backend> {
    /// The network.
    pub network: Network<B>,
    /// Whether its last layer was for other classes and is drawn anew.
    pub has_new_head: bool,
    /// Whether the file has timm's names where they are others than torchvision's.
    pub has_timms_names: bool,
}

/// Reads what a training starts from, by torchvision's names or timm's.
pub fn load_pretrained<B: ImageOps>(
    path: &Path,
    shape: Shape,
    seed: u64,
    device: &B::Device,
) -> Result<Pretrained<B>, TrainError> {
    let file = weights::WeightFile::open(path)?;
    let architecture = shape.architecture;
    let head = format!("{}.", architecture.head());
    let mut all =
        Pretrained { network: shape.draw(seed, device), has_new_head: false, has_timms_names: false };
    for spec in shape.tensors() {
        let is_there = |name: &String| file.dimensions(name).is_ok();
        let timms = architecture.timm_name(&spec.name).filter(|name| !is_there(&spec.name) && is_there(name));
        all.has_timms_names |= timms.is_some();
        let name = timms.unwrap_or_else(|| spec.name.clone());
        let fits = file.dimensions(&name).is_ok_and(|found| found == spec.shape);
        // A simplecnn of the first revision has no norms; they begin as fresh ones do.
        if shape.architecture == Architecture::SIMPLE_CNN && spec.name.starts_with("bn") && !is_there(&name) {
            continue;
        }
        if !fits && spec.name.starts_with(&head) && is_there(&name) {
            all.has_new_head = true;
            continue;
        }
        let values = read(&file, path, &TensorSpec { name, ..spec.clone() })?;
        all.network.put(&spec, values.on(device));
    }
    Ok(all)
}

/// Reads the tensor that `spec` names.
fn read(file: &weights::WeightFile, path: &Path, spec: &TensorSpec) -> Result<HostTensor, TrainError> {
    let unfit = |message: String| TrainError::Model {
        code: "model.pretrained_unfit",
        path: path.to_path_buf(),
        message,
        hint: "Name weights of the architecture that vision.model says, for images of vision.image_size and its channels.",
    };
    let found = file.dimensions(&spec.name).map_err(|_| {
        unfit(format!("tensor `{}` is not in the file; the architecture needs it", spec.name))
    })?;
    if found != spec.shape {
        let message =
            format!("tensor `{}` has shape {found:?}; the architecture needs {:?}", spec.name, spec.shape);
        return Err(unfit(message));
    }
    Ok(spec.to_memory(file.values(&spec.name)?))
}

/// Writes `network` to the file at `path`, atomically.
pub fn save<B: ImageOps>(network: &Network<B>, path: &Path) -> Result<(), TrainError> {
    let tensors: Vec<(TensorSpec, Vec<f32>)> = network
        .shape
        .tensors()
        .into_iter()
        .filter_map(|spec| {
            let tensor = network.weights.get(&spec.name).or_else(|| network.moments.get(&spec.name))?;
            let values = spec.to_file(tensor.to_data().iter::<f32>().collect());
            Some((spec, values))
        })
        .collect();
    weights::write_safetensors(
        path,
        tensors.iter().map(|(spec, values)| (spec.name.clone(), spec.shape.as_slice(), values.as_slice())),
    )
}
