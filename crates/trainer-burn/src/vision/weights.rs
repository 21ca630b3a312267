//! Weights of image classifiers in safetensors files, by torchvision's and timm's names and shapes.

use std::path::Path;

use super::model::{Network, Shape, TensorSpec};
use crate::{
    error::TrainError,
    model::{HostTensor, weights},
    ops::image::ImageOps,
};

/// Reads the network `shape` from the file at `path`, every tensor of it.
pub fn load<B: ImageOps>(path: &Path, shape: Shape, device: &B::Device) -> Result<Network<B>, TrainError> {
    let file = weights::WeightFile::open(path)?;
    let mut network = Network::empty(shape);
    for spec in shape.tensors() {
        network.put(&spec, read(&file, path, &spec)?.on(device));
    }
    Ok(network)
}

/// Reads what a training starts from. A last layer for other classes is drawn anew; that it was is said.
pub fn load_pretrained<B: ImageOps>(
    path: &Path,
    shape: Shape,
    seed: u64,
    device: &B::Device,
) -> Result<(Network<B>, bool), TrainError> {
    let file = weights::WeightFile::open(path)?;
    let head = format!("{}.", shape.architecture.head());
    let mut network = shape.draw(seed, device);
    let mut has_new_head = false;
    for spec in shape.tensors() {
        let fits = file.dimensions(&spec.name).is_ok_and(|found| found == spec.shape);
        if !fits && spec.name.starts_with(&head) && file.dimensions(&spec.name).is_ok() {
            has_new_head = true;
            continue;
        }
        network.put(&spec, read(&file, path, &spec)?.on(device));
    }
    Ok((network, has_new_head))
}

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
