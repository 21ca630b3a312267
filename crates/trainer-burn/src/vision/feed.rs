//! Batches of selected images, one epoch long. Candidates are offered to the selector, and the selected images are
//! gathered into full batches. So an image that is not selected costs nothing, or one forward pass where its score is
//! needed.

use std::collections::VecDeque;

use greentune_ast_sparsity::{Needs, Observation, Selected, Selector};
use greentune_image_data::{Batch as Rendered, Loader, Unreadable, View};

use super::step::Batch;
use crate::error::TrainError;

/// Batches that are asked for ahead.
const AHEAD: usize = 3;

/// Supplies the selected images of an epoch, in order.
pub struct Feed {
    loader: Loader,
    /// All samples, in the order of the epoch.
    order: Vec<u32>,
    batch_size: usize,
    /// Epoch over both stages, which augmentation draws by.
    epoch: u64,
    needs: Needs,
    /// Candidates that selection has decided on.
    offered: usize,
    /// Selected, and not yet requested from the loader.
    waiting: Vec<Selected>,
    /// Batches that the loader was asked for.
    requested: VecDeque<Vec<Selected>>,
    /// Rendered images that are selected and not trained on yet; only where images are scored.
    pool: Batch,
    pooled: Vec<Selected>,
    /// Chunks of candidates that the loader was asked for, where they are scored.
    chunks: usize,
}

/// A batch to train on.
pub struct Ready {
    /// The images.
    pub batch: Batch,
    /// Their ids.
    pub ids: Vec<usize>,
    /// Images that cannot be read, said for the first time.
    pub unreadable: Vec<(u32, Unreadable)>,
}

impl Feed {
    /// The candidates of `epoch` (over both stages) after `offered` of them, of which `waiting` are selected and not
    /// trained on.
    pub fn new(
        loader: Loader,
        order: Vec<u32>,
        batch_size: usize,
        epoch: u64,
        needs: Needs,
        offered: usize,
        waiting: Vec<Selected>,
    ) -> Self {
        Self {
            loader,
            order,
            batch_size,
            epoch,
            needs,
            offered,
            waiting,
            requested: VecDeque::new(),
            pool: Batch::default(),
            pooled: Vec::new(),
            chunks: 0,
        }
    }

    /// Candidates that selection has decided on.
    pub fn offered(&self) -> usize {
        self.offered
    }

    /// Whether the batch that was handed out last was the last of the epoch.
    pub fn is_exhausted(&self) -> bool {
        self.offered == self.order.len()
            && self.requested.is_empty()
            && self.waiting.is_empty()
            && self.pooled.is_empty()
    }

    /// What is selected and not trained on, in order.
    pub fn waiting(&self) -> Vec<Selected> {
        let requested = self.requested.iter().flatten();
        self.pooled.iter().chain(requested).chain(&self.waiting).copied().collect()
    }

    /// The next batch; `None` at the end of the epoch. Without a `selector` all candidates are selected. `score` is
    /// called where the selector needs fresh observations.
    pub fn next(
        &mut self,
        selector: Option<&mut Selector>,
        score: impl Fn(Batch) -> Vec<Observation>,
    ) -> Result<Option<Ready>, TrainError> {
        match selector {
            Some(selector) if self.needs == Needs::Fresh => self.next_scored(selector, score),
            selector => self.next_unscored(selector),
        }
    }

    fn next_unscored(&mut self, mut selector: Option<&mut Selector>) -> Result<Option<Ready>, TrainError> {
        while self.requested.len() < AHEAD {
            while self.waiting.len() < self.batch_size && self.offered < self.order.len() {
                let end = (self.offered + self.batch_size).min(self.order.len());
                let candidates: Vec<usize> =
                    self.order[self.offered..end].iter().map(|id| *id as usize).collect();
                match &mut selector {
                    Some(selector) => selector.select(&candidates, &[], &mut self.waiting)?,
                    None => self.waiting.extend(candidates.into_iter().map(whole)),
                }
                self.offered = end;
            }
            if self.waiting.is_empty() {
                break;
            }
            let batch: Vec<Selected> =
                self.waiting.drain(..self.batch_size.min(self.waiting.len())).collect();
            let ids = batch.iter().map(|sample| sample.id as u32).collect();
            self.loader.request(ids, self.epoch, View::Augment)?;
            self.requested.push_back(batch);
        }
        let Some(chosen) = self.requested.pop_front() else { return Ok(None) };
        let rendered = self.loader.next_batch()?.unwrap_or_default();
        Ok(Some(ready(rendered, &chosen)))
    }

    fn next_scored(
        &mut self,
        selector: &mut Selector,
        score: impl Fn(Batch) -> Vec<Observation>,
    ) -> Result<Option<Ready>, TrainError> {
        let mut unreadable = Vec::new();
        if !self.waiting.is_empty() {
            // From a checkpoint: rendered again, scored no more.
            let chosen = std::mem::take(&mut self.waiting);
            self.loader.request(chosen.iter().map(|s| s.id as u32).collect(), self.epoch, View::Augment)?;
            let ready = ready(self.loader.next_batch()?.unwrap_or_default(), &chosen);
            self.pooled = chosen.into_iter().filter(|sample| ready.ids.contains(&sample.id)).collect();
            self.pool = ready.batch;
        }
        while self.pooled.len() < self.batch_size && self.offered < self.order.len() {
            self.request_chunks()?;
            let rendered = self.loader.next_batch()?.unwrap_or_default();
            self.chunks -= 1;
            self.offered = (self.offered + self.batch_size).min(self.order.len());
            let ids: Vec<usize> = rendered.ids.iter().map(|id| *id as usize).collect();
            let all: Vec<Selected> = ids.iter().map(|id| whole(*id)).collect();
            unreadable.extend(rendered.unreadable.clone());
            let rendered = ready(rendered, &all).batch;
            let fresh = if ids.is_empty() { Vec::new() } else { score(rendered.clone()) };
            let before = self.pooled.len();
            selector.select(&ids, &fresh, &mut self.pooled)?;
            let per_image = rendered.pixels.len() / ids.len().max(1);
            for sample in &self.pooled[before..] {
                let Some(place) = ids.iter().position(|id| *id == sample.id) else { continue };
                let pixels = &rendered.pixels[place * per_image..(place + 1) * per_image];
                self.pool.pixels.extend_from_slice(pixels);
                self.pool.labels.push(rendered.labels[place]);
                self.pool.weights.push(sample.weight);
            }
        }
        let count = self.batch_size.min(self.pooled.len());
        if count == 0 {
            return Ok(None);
        }
        let per_image = self.pool.pixels.len() / self.pooled.len();
        let batch = Batch {
            pixels: self.pool.pixels.drain(..count * per_image).collect(),
            labels: self.pool.labels.drain(..count).collect(),
            weights: self.pool.weights.drain(..count).collect(),
        };
        let ids = self.pooled.drain(..count).map(|sample| sample.id).collect();
        Ok(Some(Ready { batch, ids, unreadable }))
    }

    /// Keeps the loader busy with the chunks after those that it has.
    fn request_chunks(&mut self) -> Result<(), TrainError> {
        while self.chunks < AHEAD {
            let start = self.offered + self.chunks * self.batch_size;
            if start >= self.order.len() {
                return Ok(());
            }
            let end = (start + self.batch_size).min(self.order.len());
            self.loader.request(self.order[start..end].to_vec(), self.epoch, View::Augment)?;
            self.chunks += 1;
        }
        Ok(())
    }
}

/// A sample that weighs 1.
fn whole(id: usize) -> Selected {
    Selected { id, weight: 1.0, forced: false }
}

/// Rendered images with the weights of those that were chosen.
fn ready(rendered: Rendered, chosen: &[Selected]) -> Ready {
    let mut weights = Vec::with_capacity(rendered.ids.len());
    let mut chosen = chosen.iter();
    for id in &rendered.ids {
        // Images that cannot be read are missing; the others are in the order that was asked for.
        let sample = chosen.find(|sample| sample.id == *id as usize);
        weights.push(sample.map_or(1.0, |sample| sample.weight));
    }
    Ready {
        ids: rendered.ids.iter().map(|id| *id as usize).collect(),
        batch: Batch { pixels: rendered.pixels, labels: rendered.labels, weights },
        unreadable: rendered.unreadable,
    }
}
