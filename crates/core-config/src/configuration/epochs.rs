//! Epochs and steps that follow from the settings.

use crate::settings::{Settings, Task};

impl Settings {
    /// Epochs on all samples before any are selected: `ast.warmup_epochs`; where it is absent 2 for an image classifier,
    /// at most half of its epochs, and none for a language model, whose base is trained already.
    pub fn warmup_epochs(&self) -> u64 {
        self.ast.warmup_epochs.unwrap_or(match self.task() {
            Task::ImageClassification => 2.min(self.vision.epochs / 2),
            Task::LanguageModel => 0,
        })
    }

    /// Epochs of an image classifier's `stage`: those of the warm-up in stage 1, the others in stage 2.
    pub fn image_epochs(&self, stage: u8) -> u64 {
        let warmup = self.warmup_epochs().min(self.vision.epochs);
        if stage == 1 { warmup } else { self.vision.epochs - warmup }
    }

    /// Optimizer steps of one epoch of an image classifier's `stage` over so many images, at the activation rate that
    /// is aimed at: all of them in the warm-up, and where nothing is selected.
    pub fn image_steps_per_epoch(&self, stage: u8, images: u64) -> u64 {
        let selects = stage > 1 && self.ast.enabled;
        let rate = if selects { self.ast.target_activation_rate } else { 1.0 };
        let trained = (images as f64 * rate).ceil() as u64;
        // A last batch of a single image makes no step: norms have no variance over it.
        (trained + self.vision.batch_size.saturating_sub(2)) / self.vision.batch_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(epochs: u64, warmup: Option<u64>) -> Settings {
        let mut settings = Settings::default();
        settings.vision.model = Some(String::from("simplecnn"));
        settings.vision.epochs = epochs;
        settings.vision.batch_size = 64;
        settings.ast.warmup_epochs = warmup;
        settings
    }

    #[test]
    fn the_stages_of_an_image_classifier_share_its_epochs() {
        for (epochs, warmup, stages) in
            [(10, None, [2, 8]), (3, None, [1, 2]), (1, None, [0, 1]), (5, Some(9), [5, 0])]
        {
            let settings = settings(epochs, warmup);
            assert_eq!([1, 2].map(|stage| settings.image_epochs(stage)), stages);
        }
    }

    #[test]
    fn steps_follow_the_rate_that_is_aimed_at_once_samples_are_selected() {
        let mut settings = settings(10, None);
        assert_eq!([1, 2].map(|stage| settings.image_steps_per_epoch(stage, 1437)), [23, 23]);
        settings.ast.enabled = true;
        settings.ast.target_activation_rate = 0.4;
        assert_eq!([1, 2].map(|stage| settings.image_steps_per_epoch(stage, 1437)), [23, 9]);
        assert_eq!([64, 65, 66].map(|images| settings.image_steps_per_epoch(1, images)), [1, 1, 2]);
    }
}
