//! Where a stage begins: its newest checkpoint, the end of the stage before, or a fresh network.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use greentune_ast_sparsity::Selector;
use greentune_carbon::codecarbon;

use super::{
    Run,
    checkpoint::{self, Progress, State},
    model::Network,
    optimizer::Optimizer,
    weights,
};
use crate::{error::TrainError, ops::image::ImageOps, stage::StageHost};

impl<A: ImageOps + AutodiffBackend<InnerBackend: ImageOps>> Run<'_, A> {
    /// Energy of the stages before, in kWh; absent when one of them was not metered.
    pub(super) fn energy_before(&self, stage: u8) -> Option<f64> {
        (1..stage).filter(|stage| self.epochs(*stage) > 0).try_fold(0.0, |sum, stage| {
            let row = codecarbon::of_run(&self.layout.emissions_csv(stage), &self.layout.run_id()).ok()??;
            Some(sum + row.record.energy_consumed)
        })
    }

    /// The newest checkpoint of the stage, or its beginning: the end of the stage before, or a fresh network.
    pub(super) fn starting_point(
        &self,
        stage: u8,
        selector: &mut Selector,
        host: &mut StageHost,
    ) -> Result<State<A::InnerBackend>, TrainError> {
        let settings = &self.manifest.settings;
        for earlier in (1..=stage).rev() {
            let folder = self.layout.checkpoints(earlier);
            let (found, broken) =
                checkpoint::latest(&folder, self.shape, &settings.vision, selector, &self.device)?;
            broken.into_iter().try_for_each(|said| host.warn("checkpoint.broken", said))?;
            if let Some(mut found) = found {
                if earlier < stage {
                    found.progress =
                        Progress { steps_of_run: found.progress.steps_of_run, ..Progress::default() };
                }
                return Ok(found);
            }
        }
        let seed = settings.training.seed;
        let path = &self.manifest.base_model_path;
        let network = if path.as_os_str().is_empty() {
            self.shape.draw(seed, &self.device)
        } else {
            self.pretrained(path, host)?
        };
        let optimizer = Optimizer::new(&network.weights, &settings.vision);
        Ok(State { progress: Progress::default(), network, optimizer })
    }

    /// The network of `file`, and what is odd about it.
    fn pretrained(&self, file: &Path, host: &mut StageHost) -> Result<Network<A::InnerBackend>, TrainError> {
        let seed = self.manifest.settings.training.seed;
        let loaded = weights::load_pretrained(file, self.shape, seed, &self.device)?;
        let file = file.display();
        if loaded.has_new_head {
            let message = format!(
                "the last layer of {file} is for other classes; a fresh one is trained for these {}",
                self.shape.classes
            );
            host.warn("model.new_head", message)?;
        }
        if loaded.has_timms_names {
            let message = format!(
                "{file} has timm's names; weights that timm calls tf_* look the same and compute something else, which \
                 training has to make up for"
            );
            host.warn("model.timm_names", message)?;
        }
        Ok(loaded.network)
    }
}
