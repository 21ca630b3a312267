//! Low-rank adapters (LoRA, Hu et al. 2021) on a decoder's projections.
//!
//! With `use_dora` (Liu et al. 2024) each adapted projection also has a magnitude for every row of its weight:
//! `y = m / ‖W + scale · B·A‖ · (W + scale · B·A) x`, the norm by row and taken as a constant, as PEFT does.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{
    Tensor,
    backend::{AutodiffBackend, Backend},
};

use super::parameters::Parameters;
use crate::ops::{Dropout, Ops, Weight};

/// What the adapters of a run look like.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSettings {
    /// Rank of the update.
    pub rank: usize,
    /// The update is scaled by alpha / rank (or alpha / √rank).
    pub alpha: f64,
    /// Dropout on the adapter's input in training.
    pub dropout: f64,
    /// Projections that have an adapter, such as `q_proj`.
    pub target_modules: Vec<String>,
    /// Scale by alpha / √rank (rsLoRA, Kalajdzievski 2023).
    pub use_rslora: bool,
    /// Train a magnitude for every output beside the low-rank update (DoRA).
    pub use_dora: bool,
}

impl LoraSettings {
    /// Factor of the update: alpha / rank, or alpha / √rank with rsLoRA.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        (self.alpha / if self.use_rslora { rank.sqrt() } else { rank }) as f32
    }
}

impl From<&greentune_core_config::settings::LoraSettings> for LoraSettings {
    fn from(settings: &greentune_core_config::settings::LoraSettings) -> Self {
        Self {
            rank: settings.rank as usize,
            alpha: settings.alpha,
            dropout: settings.dropout,
            target_modules: settings.targets(),
            use_rslora: settings.use_rslora,
            use_dora: settings.use_dora,
        }
    }
}

/// Adapters: `{module}.lora_A.weight [rank, in]`, `{module}.lora_B.weight [out, rank]` and, with DoRA,
/// `{module}.lora_magnitude_vector [1, out]`.
#[derive(Clone, Debug)]
pub struct Adapters<B: Backend> {
    /// Their settings.
    pub settings: LoraSettings,
    /// Their tensors, by name without PEFT's prefix.
    pub parameters: Parameters<B>,
    /// Seed of this step's dropout masks; no dropout when absent.
    pub(super) dropout_seed: Option<u64>,
    /// With DoRA: by module the squared norms of the base weight's rows, `[out, 1]`.
    pub(super) squared_norms: Arc<BTreeMap<String, Tensor<B, 2>>>,
}

/// The adapter of one projection.
#[derive(Clone, Debug)]
pub struct Adapter<B: Backend> {
    /// `[rank, in]`.
    pub a: Tensor<B, 2>,
    /// `[out, rank]`.
    pub b: Tensor<B, 2>,
    /// Factor of the update.
    pub scale: f32,
    /// Dropout on the adapter's input.
    pub dropout: Option<Dropout>,
    /// With DoRA: magnitudes `[1, out]`, and the squared norms of the base weight's rows, `[out, 1]`.
    magnitude: Option<(Tensor<B, 2>, Tensor<B, 2>)>,
}

impl<B: Ops> Adapter<B> {
    /// With DoRA: what the output of base and update together is multiplied by, `[1, out]`.
    ///
    /// `‖W + s·BA‖² = ‖W‖² + 2s·⟨W, BA⟩ + s²·‖BA‖²` row by row, without composing `BA`.
    pub fn magnitude_factor(&self, weight: &Weight<B>) -> Option<Tensor<B, 2>> {
        let (magnitude, squares) = self.magnitude.clone()?;
        let (a, b) = (self.a.clone().detach(), self.b.clone().detach());
        let inner = (B::project(a.clone(), weight).transpose() * b.clone()).sum_dim(1);
        let update = (b.clone().matmul(a.clone().matmul(a.transpose())) * b).sum_dim(1);
        let norm = (squares + inner * (2.0 * self.scale) + update * self.scale.powi(2)).sqrt();
        Some(magnitude / norm.transpose())
    }
}

/// The last part of the names of DoRA's magnitudes.
pub(super) const MAGNITUDE: &str = "lora_magnitude_vector";

impl<B: Ops> Adapters<B> {
    /// The adapter of a module such as `model.layers.0.self_attn.q_proj`, when it has one.
    pub fn of(&self, module: &str) -> Option<Adapter<B>> {
        let a = self.parameters.get(&format!("{module}.lora_A.weight"))?.clone();
        let b = self.parameters.get(&format!("{module}.lora_B.weight"))?.clone();
        let dropout = self.dropout_seed.filter(|_| self.settings.dropout > 0.0).map(|seed| {
            // Each module draws its own mask: FNV-1a of its name mixed into the step's seed.
            let hash = module.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
            Dropout { rate: self.settings.dropout as f32, seed: seed ^ hash }
        });
        let magnitude = self.parameters.get(&format!("{module}.{MAGNITUDE}"));
        let magnitude = magnitude.cloned().zip(self.squared_norms.get(module).cloned());
        Some(Adapter { a, b, scale: self.settings.scale(), dropout, magnitude })
    }

    /// The same adapters as leaves that get gradients, with this step's dropout.
    pub fn tracked<A: Ops + AutodiffBackend<InnerBackend = B>>(&self, dropout_seed: u64) -> Adapters<A> {
        Adapters {
            settings: self.settings.clone(),
            parameters: self.parameters.lift(true),
            dropout_seed: Some(dropout_seed),
            squared_norms: Arc::new(
                self.squared_norms
                    .iter()
                    .map(|(module, squares)| (module.clone(), Tensor::from_inner(squares.clone())))
                    .collect(),
            ),
        }
    }

    /// The same adapters on the backend inside, dropout included.
    pub fn inner(&self) -> Adapters<B::InnerBackend>
    where
        B: AutodiffBackend<InnerBackend: Ops>,
    {
        let squares = self.squared_norms.iter();
        Adapters {
            settings: self.settings.clone(),
            parameters: self.parameters.map(|_, tensor| tensor.clone().inner()),
            dropout_seed: self.dropout_seed,
            squared_norms: Arc::new(
                squares.map(|(module, squares)| (module.clone(), squares.clone().inner())).collect(),
            ),
        }
    }
}
