//! Named tensors: the weights of a model, its adapters, their gradients and the optimizer's moments.

use std::collections::BTreeMap;

use burn::tensor::{
    DType, Tensor, TensorData,
    backend::{AutodiffBackend, Backend},
};

use crate::ops::{Packed, Weight};

/// Tensors by name, in the order of their names. Vectors are `[1, n]`.
#[derive(Clone, Debug)]
pub struct Parameters<B: Backend> {
    tensors: BTreeMap<String, Tensor<B, 2>>,
}

impl<B: Backend> Default for Parameters<B> {
    fn default() -> Self {
        Self { tensors: BTreeMap::new() }
    }
}

impl<B: Backend> FromIterator<(String, Tensor<B, 2>)> for Parameters<B> {
    fn from_iter<I: IntoIterator<Item = (String, Tensor<B, 2>)>>(iter: I) -> Self {
        Self { tensors: iter.into_iter().collect() }
    }
}

impl<B: Backend> Parameters<B> {
    /// The tensor `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor<B, 2>> {
        self.tensors.get(name)
    }

    /// Puts a tensor.
    pub fn insert(&mut self, name: String, tensor: Tensor<B, 2>) {
        self.tensors.insert(name, tensor);
    }

    /// Names and tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor<B, 2>)> {
        self.tensors.iter()
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Values in all tensors together.
    pub fn count(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.dims().iter().product::<usize>() as u64).sum()
    }

    /// A tensor for each of these, by `map`.
    #[must_use]
    pub fn map<B2: Backend>(&self, map: impl Fn(&str, &Tensor<B, 2>) -> Tensor<B2, 2>) -> Parameters<B2> {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), map(name, tensor))).collect()
    }

    /// The values on the host as f32, with their shapes.
    pub fn to_host(&self) -> BTreeMap<String, HostTensor> {
        self.tensors
            .iter()
            .map(|(name, tensor)| {
                let shape = tensor.dims();
                let data = tensor.to_data().convert_dtype(DType::F32);
                (name.clone(), HostTensor { shape, values: data.iter::<f32>().collect() })
            })
            .collect()
    }

    /// Tensors on `device` with these values.
    pub fn from_host(host: BTreeMap<String, HostTensor>, device: &B::Device) -> Self {
        host.into_iter().map(|(name, tensor)| (name, tensor.on(device))).collect()
    }
}

/// An f32 matrix on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Row-major values.
    pub values: Vec<f32>,
}

impl HostTensor {
    /// A tensor on `device` with these values.
    pub fn on<B: Backend>(self, device: &B::Device) -> Tensor<B, 2> {
        Tensor::from_data(TensorData::new(self.values, self.shape), device)
    }
}

impl<B: Backend> Parameters<B> {
    /// The same tensors on the autodiff backend, shared: frozen, or each a leaf that gets a gradient.
    #[must_use]
    pub fn lift<A: AutodiffBackend<InnerBackend = B>>(&self, tracked: bool) -> Parameters<A> {
        self.map(|_, tensor| {
            let tensor = Tensor::from_inner(tensor.clone());
            if tracked { tensor.require_grad() } else { tensor }
        })
    }
}

/// The weights of a decoder: in full, or packed where they are frozen and memory is to be saved.
#[derive(Clone, Debug)]
pub struct Weights<B: Backend> {
    /// Norms, biases, and matrices that are kept in full.
    pub full: Parameters<B>,
    /// Matrices in fewer bits, by name.
    pub packed: BTreeMap<String, Packed<B>>,
}

impl<B: Backend> From<Parameters<B>> for Weights<B> {
    fn from(full: Parameters<B>) -> Self {
        Self { full, packed: BTreeMap::new() }
    }
}

impl<B: Backend> Weights<B> {
    /// The matrix `name`, which must be there.
    pub fn matrix(&self, name: &str) -> Weight<B> {
        match self.packed.get(name) {
            Some(packed) => Weight::Packed(packed.clone()),
            None => Weight::Full(self.tensor(name)),
        }
    }

    /// The full tensor `name`, which must be there.
    pub fn tensor(&self, name: &str) -> Tensor<B, 2> {
        // Loading checks that every weight of the architecture is there.
        self.full.get(name).cloned().unwrap_or_else(|| unreachable!("weight {name} was not loaded"))
    }

    /// The same weights on the autodiff backend, shared: frozen, or the full ones each a leaf that gets a gradient.
    #[must_use]
    pub fn lift<A: AutodiffBackend<InnerBackend = B>>(&self, tracked: bool) -> Weights<A> {
        let packed = self.packed.iter().map(|(name, packed)| (name.clone(), packed.lift())).collect();
        Weights { full: self.full.lift(tracked), packed }
    }
}
