//! Rotary positions as tables of cosines and sines.

use std::sync::{Arc, Mutex, PoisonError};

use greentune_core_config::model::Rotary;

/// Rotary position embedding (Su et al. 2021) in Hugging Face's rotate-half form.
#[derive(Clone, Debug)]
pub struct Rope {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Tables for `positions` positions of heads of `head_dim`.
    pub fn new(rotary: &Rotary, head_dim: usize, positions: usize) -> Self {
        let (frequencies, factor) = rotary.frequencies(head_dim);
        let angles = (0..positions).flat_map(|position| {
            // Hugging Face computes frequencies and angles in f32.
            frequencies.iter().map(move |frequency| position as f32 * *frequency as f32)
        });
        let factor = factor as f32;
        let (cos, sin) = angles.map(|angle| (angle.cos() * factor, angle.sin() * factor)).unzip();
        Self { half: head_dim / 2, cos, sin }
    }

    /// Positions that the tables cover.
    fn positions(&self) -> usize {
        self.cos.len() / self.half.max(1)
    }

    /// `(cos, sin)` of `position`, each `head_dim / 2` long.
    pub fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.half..(position + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Tables that grow with the longest sequence so far: a context of 128k positions is rarely used whole.
#[derive(Debug)]
pub struct RopeTable {
    rotary: Rotary,
    head_dim: usize,
    table: Mutex<Arc<Rope>>,
}

impl RopeTable {
    /// An empty table.
    pub fn new(rotary: Rotary, head_dim: usize) -> Self {
        let table = Mutex::new(Arc::new(Rope::new(&rotary, head_dim, 0)));
        Self { rotary, head_dim, table }
    }

    /// Tables for at least `positions` positions.
    pub fn covering(&self, positions: usize) -> Arc<Rope> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.positions() < positions {
            *table = Arc::new(Rope::new(&self.rotary, self.head_dim, positions.next_power_of_two()));
        }
        Arc::clone(&table)
    }
}
