//! Defaults of `[vision]` that depend on architecture and data. Only settings that nobody set are chosen, and each says
//! why. A run and its twin, which differ in `[ast]` alone, get the same.
//!
//! The figures are common practice; what they reach with SimpleCNN is in docs/benchmarks/defaults.md.

use super::resolve::{Resolved, Source};
use crate::settings::{Augmentation, OptimizerKind, VisionScheduler, VisionSettings};

/// What is known of a data set before it is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFacts {
    /// Training images.
    pub images: u64,
    /// Side of the images that the model sees, in pixels.
    pub side: u32,
    /// Why images are not to be mirrored; none where mirroring is harmless.
    pub against_mirroring: Option<String>,
}

/// Images that are passed in all epochs together where the data set is small.
const PASSES: u64 = 20_000;
const EPOCHS: std::ops::RangeInclusive<u64> = 10..=40;
/// Optimizer steps that a batch size leaves.
const STEPS: u64 = 600;
const BATCHES: [u64; 3] = [64, 32, 16];
/// The batch for which the learning rates below are meant.
const USUAL_BATCH: f64 = 64.0;
/// Larger batches get the learning rate of this one.
const LARGEST_SCALED: u64 = 256;
/// From this side on images are taken for photos, of which a part is seen at a time.
const PHOTO_SIDE: u32 = 128;

impl Resolved {
    /// Chooses what nobody set of `[vision]` by the architecture and by what is known of the images. The notes say what
    /// a named setting would otherwise do silently: a batch that is larger than the data set is cut.
    pub fn suit_images(&mut self, facts: &ImageFacts) -> Vec<String> {
        let mut notes = Vec::new();
        let images = facts.images.max(2);
        let many = format!("{images} training images");
        if self.is_open("vision.epochs") && images < PASSES / EPOCHS.start() {
            let epochs = PASSES.div_ceil(images).clamp(*EPOCHS.start(), *EPOCHS.end());
            self.choose("vision.epochs", &many, |vision| vision.epochs = epochs);
        }
        if self.is_open("vision.batch_size") {
            let passes = images * self.settings.vision.epochs;
            let leaves_enough = |batch: &&u64| passes / **batch >= STEPS;
            let batch = BATCHES.iter().find(leaves_enough).unwrap_or(&BATCHES[BATCHES.len() - 1]);
            let batch = (*batch).min(images);
            self.choose("vision.batch_size", &many, |vision| vision.batch_size = batch);
        } else if self.settings.vision.batch_size > images {
            let named = self.settings.vision.batch_size;
            notes.push(format!(
                "vision.batch_size {named} is larger than the data set ({many}) and cut to {images}: each epoch is one \
                 step; a smaller batch would take more of them"
            ));
            self.choose("vision.batch_size", &many, |vision| vision.batch_size = images);
        }
        self.suit_architecture();
        if self.is_open("vision.augmentation") {
            let (augmentation, reason) = augmentation(facts);
            self.choose("vision.augmentation", &reason, |vision| vision.augmentation = augmentation);
        }
        notes
    }

    /// Optimizer, learning rate, weight decay and schedule.
    fn suit_architecture(&mut self) {
        let vision = &self.settings.vision;
        let (model, is_pretrained) = (vision.model.clone().unwrap_or_default(), vision.pretrained.is_some());
        if self.is_open("vision.optimizer") {
            let optimizer = optimizer(family(&model));
            self.choose("vision.optimizer", &model, |vision| vision.optimizer = optimizer);
        }
        let optimizer = self.settings.vision.optimizer;
        let recipe = recipe(&model, optimizer);
        if self.is_open("vision.learning_rate") {
            let rate = recipe.rate_for(self.settings.vision.batch_size, is_pretrained);
            let start = if is_pretrained { " from trained weights" } else { "" };
            let what =
                format!("{model}{start}, {optimizer} and a batch of {}", self.settings.vision.batch_size);
            self.choose("vision.learning_rate", &what, |vision| vision.learning_rate = rate);
        }
        let what = format!("{model} and {optimizer}");
        if self.is_open("vision.weight_decay") {
            self.choose("vision.weight_decay", &what, |vision| vision.weight_decay = recipe.weight_decay);
        }
        if self.is_open("vision.scheduler") {
            self.choose("vision.scheduler", &what, |vision| vision.scheduler = VisionScheduler::OneCycle);
        }
    }

    /// Whether nobody set `key`.
    fn is_open(&self, key: &str) -> bool {
        self.source(key) == Source::BuiltIn
    }

    fn choose(&mut self, key: &str, what: &str, set: impl FnOnce(&mut VisionSettings)) {
        set(&mut self.settings.vision);
        self.sources.insert(key.to_owned(), Source::Chosen { to_suit: what.to_owned() });
    }
}

/// What an architecture is trained with.
struct Recipe {
    /// Peak learning rate for a batch of 64.
    rate: f64,
    weight_decay: f64,
    optimizer: OptimizerKind,
}

impl Recipe {
    /// In proportion to the batch for SGD (Goyal et al. 2017, arXiv:1706.02677), up to 256 images, to its root for AdamW (Malladi et al.
    /// 2022, arXiv:2205.10287); a tenth for weights that are trained already. Two digits are kept.
    fn rate_for(&self, batch: u64, is_pretrained: bool) -> f64 {
        let batches = batch.min(LARGEST_SCALED) as f64 / USUAL_BATCH;
        let scale = match self.optimizer {
            OptimizerKind::Sgd => batches,
            OptimizerKind::AdamW => batches.sqrt(),
        };
        let rate = self.rate * scale * if is_pretrained { 0.1 } else { 1.0 };
        let digits = 10_f64.powf(rate.log10().floor() - 1.0);
        // Through text, so that 0.025 is not 0.025000000000000001.
        format!("{:.12}", (rate / digits).round() * digits).parse().unwrap_or(rate)
    }
}

const fn optimizer(family: Family) -> OptimizerKind {
    match family {
        Family::Convolutions => OptimizerKind::Sgd,
        Family::EfficientNet | Family::Transformer => OptimizerKind::AdamW,
    }
}

fn recipe(model: &str, optimizer: OptimizerKind) -> Recipe {
    let (rate, weight_decay) = match (family(model), optimizer) {
        (Family::Convolutions | Family::EfficientNet, OptimizerKind::Sgd) => (0.05, 5e-4),
        (Family::Transformer, OptimizerKind::Sgd) => (0.01, 1e-4),
        (Family::Convolutions | Family::EfficientNet, OptimizerKind::AdamW) => (2e-3, 1e-2),
        (Family::Transformer, OptimizerKind::AdamW) => (5e-4, 5e-2),
    };
    Recipe { rate, weight_decay, optimizer }
}

#[derive(Clone, Copy)]
enum Family {
    Convolutions,
    EfficientNet,
    Transformer,
}

fn family(model: &str) -> Family {
    if model.starts_with("vit") {
        Family::Transformer
    } else if model.starts_with("efficientnet") {
        Family::EfficientNet
    } else {
        Family::Convolutions
    }
}

/// What is done to training images, and why.
fn augmentation(facts: &ImageFacts) -> (Augmentation, String) {
    match &facts.against_mirroring {
        Some(reason) => (Augmentation::Crop, format!("the data set, which is not mirrored: {reason}")),
        None if facts.side >= PHOTO_SIDE => {
            (Augmentation::ResizedCrop, format!("images of {} pixels a side", facts.side))
        }
        None => (Augmentation::CropFlip, format!("images of {} pixels a side", facts.side)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{Argument, Layers, resolve};

    fn suited(model: &str, facts: &ImageFacts, more: &[&str]) -> (Resolved, Vec<String>) {
        let model = format!("vision.model={model}");
        let assignments = std::iter::once(model.as_str()).chain(more.iter().copied());
        let arguments = assignments.map(|assignment| Argument::set(assignment).unwrap()).collect();
        let mut resolved = resolve(&Layers { arguments, ..Layers::default() }).unwrap();
        let notes = resolved.suit_images(facts);
        (resolved, notes)
    }

    fn facts(images: u64, side: u32, against_mirroring: Option<&str>) -> ImageFacts {
        ImageFacts { images, side, against_mirroring: against_mirroring.map(str::to_owned) }
    }

    #[test]
    fn small_data_sets_get_more_epochs_and_smaller_batches() {
        let of = |images, more: &[&str]| {
            let vision = suited("simplecnn", &facts(images, 32, None), more).0.settings.vision;
            (vision.epochs, vision.batch_size)
        };
        assert_eq!(of(60_000, &[]), (10, 64));
        assert_eq!(of(1_437, &[]), (14, 32));
        assert_eq!(of(100, &[]), (40, 16));
        assert_eq!(of(5, &[]), (40, 5));
        assert_eq!(of(8_000, &["vision.epochs=5"]), (5, 64));
        assert_eq!(of(1_617, &["vision.epochs=20"]), (20, 32));
    }

    #[test]
    fn what_somebody_set_is_left_alone() {
        let named = [
            "vision.epochs=3",
            "vision.batch_size=256",
            "vision.optimizer=adamw",
            "vision.learning_rate=0.3",
        ];
        let more = ["vision.weight_decay=0", "vision.scheduler=constant", "vision.augmentation=flip"];
        let (resolved, notes) =
            suited("resnet18", &facts(500, 32, Some("digits")), &[&named[..], &more].concat());
        let vision = &resolved.settings.vision;
        assert_eq!((vision.epochs, vision.batch_size, vision.learning_rate), (3, 256, 0.3));
        assert_eq!((vision.optimizer, vision.augmentation), (OptimizerKind::AdamW, Augmentation::Flip));
        assert!(notes.is_empty() && resolved.sources.values().all(|s| !matches!(s, Source::Chosen { .. })));
    }

    #[test]
    fn a_batch_beyond_the_data_is_cut_and_said() {
        let (resolved, notes) = suited("simplecnn", &facts(100, 32, None), &["vision.batch_size=512"]);
        assert_eq!(resolved.settings.vision.batch_size, 100);
        assert!(notes[0].contains("512") && notes[0].contains("cut to 100"), "{notes:?}");
        assert_eq!(resolved.source("vision.batch_size").to_string(), "built in, to suit 100 training images");
    }

    #[test]
    fn rates_follow_architecture_optimizer_batch_and_start() {
        let of = |model, more: &[&str]| {
            let vision = suited(model, &facts(60_000, 32, None), more).0.settings.vision;
            (vision.optimizer, vision.learning_rate)
        };
        assert_eq!(of("resnet18", &[]), (OptimizerKind::Sgd, 0.05));
        assert_eq!(of("resnet18", &["vision.batch_size=16"]), (OptimizerKind::Sgd, 0.013));
        assert_eq!(of("resnet18", &["vision.batch_size=4096"]), (OptimizerKind::Sgd, 0.2));
        assert_eq!(of("vit_tiny", &[]), (OptimizerKind::AdamW, 5e-4));
        assert_eq!(of("vit_tiny", &["vision.batch_size=16"]), (OptimizerKind::AdamW, 2.5e-4));
        assert_eq!(of("vit_tiny", &["vision.optimizer=sgd"]), (OptimizerKind::Sgd, 0.01));
        assert_eq!(of("resnet50", &["vision.pretrained=/w.safetensors"]), (OptimizerKind::Sgd, 0.005));
    }

    #[test]
    fn only_what_survives_a_mirror_is_mirrored() {
        let of = |facts: &ImageFacts| {
            let resolved = suited("resnet18", facts, &[]).0;
            (resolved.settings.vision.augmentation, resolved.source("vision.augmentation").to_string())
        };
        let (augmentation, why) = of(&facts(8_000, 28, Some("its classes are digits")));
        assert_eq!(augmentation, Augmentation::Crop);
        assert!(why.contains("its classes are digits"), "{why}");
        assert_eq!(of(&facts(8_000, 32, None)).0, Augmentation::CropFlip);
        assert_eq!(of(&facts(8_000, 224, None)).0, Augmentation::ResizedCrop);
    }
}
