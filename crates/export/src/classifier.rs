//! Image classifiers: for timm in its names and with its `config.json`; or as the trainer left them, in torchvision's
//! names.

use std::path::{Path, PathBuf};

use greentune_model_folder::{ModelWeights, SINGLE_FILE, efficientnet_name_in_timm, read_json};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    content::{bytes, copy},
    error::ExportError,
    export::{StagedExport, stage_files},
    request::ExportFormat,
    weights::{Storage, StoredTensor, weights_file},
};

const CONFIG_FILE: &str = "config.json";
/// The layer of a vision transformer that reads patches.
const PATCHES: &str = "patch_embed.proj";

/// What classifier to export, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifierRequest {
    /// Folder of the classifier, as a run leaves it.
    pub classifier: PathBuf,
    /// `huggingface` for timm, `safetensors` for torchvision's names.
    pub format: ExportFormat,
    /// Folder to make; it must not exist, or be empty, unless it is replaced.
    pub destination: PathBuf,
    /// Whether a folder that is there is replaced, in one step, whatever it holds.
    pub replace: bool,
    /// Markdown for `README.md`.
    pub model_card: Option<String>,
}

/// The trainer's `config.json`.
#[derive(Deserialize)]
struct Classifier {
    architecture: String,
    classes: Vec<String>,
    pipeline: Pipeline,
}

/// What becomes of a picture.
#[derive(Deserialize)]
struct Pipeline {
    height: u64,
    width: u64,
    channels: u64,
    crop_fraction: f64,
    normalisation: Normalisation,
}

#[derive(Deserialize)]
struct Normalisation {
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// How timm knows an architecture.
struct Timm {
    /// Its name there.
    name: String,
    /// The layer that sees the image.
    first: &'static str,
    /// The last layer, and how many values it takes.
    last: (&'static str, u64),
    /// Side of a patch of a vision transformer, in pixels. It takes images of one size.
    patch: Option<usize>,
}

/// Writes and proves an image classifier beside its destination.
///
/// # Errors
/// Formats of language models; a classifier that timm does not have; and what [`crate::stage`] refuses of files.
pub fn stage_classifier(request: &ClassifierRequest) -> Result<StagedExport, ExportError> {
    let weights = ModelWeights::open(&request.classifier)?;
    let path = request.classifier.join(CONFIG_FILE);
    let classifier: Classifier = read_json(&path)?;
    let mut tensors = Vec::new();
    let config = match request.format {
        ExportFormat::Huggingface => {
            let timm = Timm::of(&classifier, &weights)?;
            for name in weights.names() {
                let renamed = efficientnet_name_in_timm(name).unwrap_or_else(|| name.to_owned());
                tensors.push(StoredTensor::named(renamed, weights.tensor(name)?, Storage::Kept));
            }
            let mut json = serde_json::to_vec_pretty(&timm.config(&classifier))
                .map_err(|error| ExportError::Broken { path, reason: error.to_string() })?;
            json.push(b'\n');
            bytes(CONFIG_FILE, json)
        }
        ExportFormat::Safetensors => {
            for name in weights.names() {
                tensors.push(StoredTensor::new(weights.tensor(name)?, Storage::Kept));
            }
            copy(&path, CONFIG_FILE)
        }
        format @ (ExportFormat::Mlx | ExportFormat::Gguf) => {
            return Err(not_representable(
                format,
                "it is for language models, and this is an image classifier",
                "huggingface (timm), safetensors (torchvision)",
            ));
        }
    };
    let mut plan = vec![config, weights_file(SINGLE_FILE.into(), tensors, None, "pt", false)?];
    plan.extend(request.model_card.as_ref().map(|card| bytes("README.md", card.clone().into_bytes())));
    let format = request.format;
    let usage = move |destination: &Path| usage(format, &classifier, destination);
    stage_files(&plan, &request.destination, request.replace, usage)
}

fn not_representable(format: ExportFormat, reason: &str, others: &str) -> ExportError {
    ExportError::NotRepresentable { format: format.as_str(), reason: reason.into(), others: others.into() }
}

impl Timm {
    fn of(classifier: &Classifier, weights: &ModelWeights) -> Result<Self, ExportError> {
        let architecture = classifier.architecture.as_str();
        let last = |width| match architecture {
            "vit_tiny" | "vit_small" => ("head", width),
            name if name.starts_with("efficientnet") => ("classifier", width),
            _ => ("fc", width),
        };
        let (width, first) = match architecture {
            "resnet18" | "resnet34" => (512, "conv1"),
            "resnet50" | "resnet101" => (2048, "conv1"),
            "efficientnet_b0" | "efficientnet_b1" => (1280, "conv_stem"),
            "efficientnet_b2" => (1408, "conv_stem"),
            "efficientnet_b3" => (1536, "conv_stem"),
            "vit_tiny" => (192, PATCHES),
            "vit_small" => (384, PATCHES),
            other => {
                return Err(not_representable(
                    ExportFormat::Huggingface,
                    &format!("timm has no {other}"),
                    ExportFormat::Safetensors.as_str(),
                ));
            }
        };
        if first == PATCHES {
            let patch = Some(patch_side(weights)?);
            return Ok(Self { name: format!("{architecture}_patch16_224"), first, last: last(width), patch });
        }
        Ok(Self { name: architecture.to_owned(), first, last: last(width), patch: None })
    }

    /// `config.json` as timm's `save_for_hf` writes it.
    fn config(&self, classifier: &Classifier) -> Value {
        let Pipeline { height, width, channels, crop_fraction, normalisation } = &classifier.pipeline;
        let mut arguments = Map::new();
        if *channels != 3 {
            arguments.insert("in_chans".into(), (*channels).into());
        }
        if let Some(patch) = self.patch {
            // Of another size timm would resample patches and positions, and say nothing.
            arguments.insert("img_size".into(), (*height).into());
            arguments.insert("patch_size".into(), patch.into());
        }
        let classes = classifier.classes.len();
        json!({
            "architecture": self.name,
            "num_classes": classes,
            "num_features": self.last.1,
            "label_names": classifier.classes,
            "model_args": arguments,
            "pretrained_cfg": {
                "custom_load": false,
                "input_size": [channels, height, width],
                "fixed_input_size": self.patch.is_some(),
                "interpolation": "bilinear",
                "crop_pct": crop_fraction,
                "crop_mode": "center",
                "mean": normalisation.mean,
                "std": normalisation.std,
                "num_classes": classes,
                "pool_size": null,
                "first_conv": self.first,
                "classifier": self.last.0,
            },
        })
    }
}

/// Side of a patch, by the kernels that read patches: `[width, channels, side, side]`.
fn patch_side(weights: &ModelWeights) -> Result<usize, ExportError> {
    let kernels = weights.tensor(&format!("{PATCHES}.weight"))?;
    match kernels.shape() {
        [_, _, height, width] if height == width => Ok(*width),
        shape => Err(ExportError::Broken {
            path: kernels.path().to_owned(),
            reason: format!(
                "{PATCHES}.weight has the shape {shape:?} and should have four sizes, the last two equal"
            ),
        }),
    }
}

fn usage(format: ExportFormat, classifier: &Classifier, destination: &Path) -> String {
    let folder = destination.display();
    let (name, classes) = (&classifier.architecture, classifier.classes.len());
    if format == ExportFormat::Huggingface {
        return format!(
            "Load the classifier with timm:\n\n```python\nimport timm\n\n\
             model = timm.create_model(r\"local-dir:{folder}\", pretrained=True).eval()\n\
             transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n```\n"
        );
    }
    let read = format!("state = safetensors.torch.load_file(r\"{folder}/{SINGLE_FILE}\")");
    if name.starts_with("resnet") || name.starts_with("efficientnet") {
        return format!(
            "Load the weights into torchvision's network (of images with three channels):\n\n```python\nimport \
             safetensors.torch\nimport torchvision\n\n{read}\n\
             model = torchvision.models.{name}(num_classes={classes})\nmodel.load_state_dict(state)\n```\n"
        );
    }
    format!("Read the weights:\n\n```python\nimport safetensors.torch\n\n{read}\n```\n")
}
