//! Image classifiers against PyTorch, torchvision and timm, whose figures are in `fixtures/vision` (see its README).

use std::{collections::BTreeMap, fs, path::PathBuf};

use burn::{
    backend::{Autodiff, Flex, flex::FlexDevice},
    tensor::Tensor,
};
use greentune_core_config::{
    Diagnostic,
    settings::{OptimizerKind, VisionSettings},
};
use greentune_trainer_burn::vision::{
    model::{Architecture, Layout, Mode, Network, Shape, TensorSpec},
    optimizer::Optimizer,
    step::{self, Batch},
    weights,
};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

type Tracked = Autodiff<Flex>;

/// Names here and in the fixtures.
const NETWORKS: [(&str, &str); 12] = [
    ("simplecnn", "simple_cnn_of_cells"),
    (FIRST_SIMPLE_CNN, "simple_cnn"),
    ("resnet18", "resnet18"),
    ("resnet34", "resnet34"),
    ("resnet50", "resnet50"),
    ("resnet101", "resnet101"),
    ("efficientnet_b0", "efficientnet_b0"),
    ("efficientnet_b1", "efficientnet_b1"),
    ("efficientnet_b2", "efficientnet_b2"),
    ("efficientnet_b3", "efficientnet_b3"),
    ("vit_tiny", "vit_tiny_patch16_224"),
    ("vit_small", "vit_small_patch16_224"),
];

/// `simplecnn` in its first revision.
const FIRST_SIMPLE_CNN: &str = "simplecnn, revision 1";

fn architecture(ours: &str) -> Architecture {
    match ours {
        FIRST_SIMPLE_CNN => Architecture::of_revision("simplecnn", 1).unwrap(),
        name => Architecture::named(name).unwrap(),
    }
}

fn fixture(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/vision/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn bits(name: &str, index: u64) -> u64 {
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let mut z = hash.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn uniform(name: &str, index: u64) -> f64 {
    (bits(name, index) >> 40) as f64 / (1u64 << 24) as f64 * 2.0 - 1.0
}

/// The formula's value of a tensor, in the order of a file.
fn formula(spec: &TensorSpec, network: &str, norms: &BTreeMap<String, bool>) -> Vec<f32> {
    let (stem, part) = spec.name.rsplit_once('.').unwrap_or(("", &spec.name));
    let is_norm = norms.get(stem).copied().unwrap_or(false);
    let count: usize = spec.shape.iter().product();
    let of = |value: &dyn Fn(f64) -> f64| -> Vec<f32> {
        (0..count as u64).map(|index| value(uniform(&spec.name, index)) as f32).collect()
    };
    let last_of_branch = match network {
        "resnet18" | "resnet34" => "bn2.weight",
        "resnet50" | "resnet101" => "bn3.weight",
        _ => "no such name",
    };
    match part {
        "running_mean" => of(&|u| 0.05 * u),
        "running_var" => of(&|u| 1.0 + 0.2 * u.abs()),
        "weight" if is_norm => {
            let scale = if spec.name.ends_with(last_of_branch) { 0.2 } else { 1.0 };
            of(&|u| scale * (1.0 + 0.1 * u))
        }
        "bias" if is_norm => of(&|u| 0.1 * u),
        "bias" => of(&|u| 0.05 * u),
        "weight" => {
            let ends = |ending: &str| spec.name.ends_with(ending);
            let gain = if !network.starts_with("efficientnet") || ends("block.0.0.weight") {
                3.0
            } else if ends("block.2.0.weight") || ends("block.3.0.weight") {
                24.0
            } else {
                8.0
            };
            let fan_in: usize = spec.shape[1..].iter().product();
            let scale = (gain / fan_in as f64).sqrt();
            of(&|u| u * scale)
        }
        _ => of(&|u| 0.02 * u),
    }
}

fn network(shape: Shape, name: &str) -> (Network<Flex>, String) {
    let specs = shape.tensors();
    let norms: BTreeMap<String, bool> = specs
        .iter()
        .filter_map(|spec| Some((spec.name.strip_suffix(".weight")?.to_owned(), spec.shape.len() == 1)))
        .collect();
    let mut network = Network::empty(shape);
    let mut by_name = BTreeMap::new();
    for spec in &specs {
        let values = formula(spec, name, &norms);
        by_name.insert(spec.name.clone(), values.clone());
        network.put(spec, spec.to_memory(values).on(&FlexDevice));
    }
    let bytes: Vec<u8> = by_name.values().flatten().flat_map(|value| value.to_le_bytes()).collect();
    (network, sha256(&bytes))
}

/// Steps of each thread.
const STEPS_AT_ONCE: usize = 50;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Images in rows of pixels.
fn images(name: &str, count: usize, channels: usize, height: usize, width: usize) -> Vec<f32> {
    let offset = |n: usize, c: usize| uniform(&format!("{name}.offset"), (n * channels + c) as u64);
    let mut values = Vec::with_capacity(count * channels * height * width);
    for n in 0..count {
        for pixel in 0..height * width {
            for c in 0..channels {
                let index = (n * channels + c) * height * width + pixel;
                values.push((uniform(name, index as u64) + offset(n, c)) as f32);
            }
        }
    }
    values
}

fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn close(what: &str, mine: &[f64], theirs: &[f64], allowed: f64) {
    assert_eq!(mine.len(), theirs.len(), "{what}");
    for (index, (mine, theirs)) in mine.iter().zip(theirs).enumerate() {
        assert!(
            (mine - theirs).abs() <= allowed,
            "{what}[{index}]: {mine} is not {theirs} within {allowed:e}"
        );
    }
}

fn host(tensor: &Tensor<Flex, 2>) -> Vec<f64> {
    tensor.to_data().iter::<f32>().map(f64::from).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// A network's shape for a case of the fixtures; none for images that are not square or patches that are not ours.
fn shape_of(architecture: Architecture, case: &Value) -> Option<Shape> {
    let input: Vec<usize> = floats(&case["shape"]).iter().map(|side| *side as usize).collect();
    let [_, channels, height, width] = input[..] else { panic!("{case}") };
    (height == width).then_some(Shape { architecture, classes: 10, channels, image_size: height })
}

fn batch(case: &Value, shape: Shape, name: &str) -> Batch {
    let labels: Vec<u32> = floats(&case["labels"]).iter().map(|label| *label as u32).collect();
    let (channels, side) = (shape.channels, shape.image_size);
    Batch {
        pixels: images(name, labels.len(), channels, side, side),
        weights: vec![1.0; labels.len()],
        labels,
    }
}

fn check_case(ours: &str, theirs: &str, case: &Value) {
    let architecture = architecture(ours);
    let Some(shape) = shape_of(architecture, case) else { return };
    let what = format!("{ours} at {}", shape.image_size);
    let (network, digest) = network(shape, theirs);
    if digest != case["state_sha256"] {
        // timm's patches at this size are not those of ours.
        assert!(matches!(architecture, Architecture::ViT(_)), "{what}: the weights are others");
        return;
    }
    let batch = batch(case, shape, "input");
    let errors = &case["errors"];
    let error = |name: &str| errors[name].as_f64().unwrap_or(0.0);

    let logits = floats(&case["eval_logits"]);
    let rows = batch.pixels.len() / shape.channels;
    let pixels = burn::tensor::TensorData::new(batch.pixels.clone(), [rows, shape.channels]);
    let (mine, _) = network.forward(Tensor::from_data(pixels, &FlexDevice), Mode::Evaluation);
    let allowed = 10.0 * error("eval_logits") + 3e-6 * largest(&logits);
    close(&format!("{what}: logits"), &host(&mine), &logits, allowed);
    let scores = step::score(&network, batch.clone(), &FlexDevice);
    let within = |rank: u32| scores.iter().filter(|score| score.rank < rank).count() as u64;
    assert_eq!(within(1), case["eval_correct_top1"].as_u64().unwrap(), "{what}");
    assert_eq!(within(5), case["eval_correct_top5"].as_u64().unwrap(), "{what}");

    for (smoothing, loss, gradients_norm) in
        [(0.0, "loss", "gradients_norm"), (0.1, "loss_smoothed", "gradients_smoothed_norm")]
    {
        let out = step::gradients::<Tracked>(&network, batch.clone(), None, smoothing, None, &FlexDevice);
        let expected = case[loss].as_f64().unwrap();
        close(
            &format!("{what}: {loss}"),
            &[out.loss],
            &[expected],
            10.0 * error("train_logits") + 1e-5 * expected,
        );
        let whole = case[gradients_norm].as_f64().unwrap();
        let mut squares = 0.0;
        for spec in shape.tensors().iter().filter(|spec| spec.is_trained) {
            let gradient = out.gradients.get(&spec.name).unwrap_or_else(|| panic!("{what}: {}", spec.name));
            let values: Vec<f64> =
                spec.to_file(gradient.to_data().iter::<f32>().collect()).into_iter().map(f64::from).collect();
            squares += values.iter().map(|value| value * value).sum::<f64>();
            if smoothing > 0.0 {
                continue;
            }
            let [norm, sum, error, first @ ..] = &floats(&case["gradients"][&spec.name])[..] else {
                panic!()
            };
            let allowed = 10.0 * error + 3e-6 * whole;
            let name = format!("{what}: gradient of {}", spec.name);
            close(&name, &[values.iter().map(|v| v * v).sum::<f64>().sqrt()], &[*norm], allowed);
            let spread = allowed * (values.len() as f64).sqrt();
            close(&name, &[values.iter().sum()], &[*sum], spread);
            let known = first.len().min(values.len());
            close(&name, &values[..known], &first[..known], allowed);
        }
        close(&format!("{what}: {gradients_norm}"), &[squares.sqrt()], &[whole], 0.02 * whole);
        if smoothing > 0.0 {
            continue;
        }
        let mut trained = network.clone();
        trained.note_moments(&out.moments);
        for spec in shape.tensors().iter().filter(|spec| !spec.is_trained) {
            let values = host(trained.moments.get(&spec.name).unwrap());
            let [norm, _, error, first @ ..] = &floats(&case["running"][&spec.name])[..] else { panic!() };
            let name = format!("{what}: {}", spec.name);
            let allowed = 10.0 * error + 1e-5 * norm;
            close(&name, &[values.iter().map(|v| v * v).sum::<f64>().sqrt()], &[*norm], allowed);
            let known = first.len().min(values.len());
            close(&name, &values[..known], &first[..known], allowed);
        }
    }
}

fn check(ours: &str) {
    let (_, theirs) = NETWORKS.into_iter().find(|(name, _)| *name == ours).unwrap();
    for case in fixture(theirs)["cases"].as_array().unwrap() {
        check_case(ours, theirs, case);
    }
}

#[test]
fn simplecnn_is_that_of_pytorch() {
    check("simplecnn");
    check(FIRST_SIMPLE_CNN);
}

#[test]
fn resnets_are_those_of_torchvision() {
    for network in ["resnet18", "resnet34", "resnet50", "resnet101"] {
        check(network);
    }
}

#[test]
fn efficientnets_are_those_of_torchvision() {
    for network in ["efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"] {
        check(network);
    }
}

#[test]
fn vision_transformers_are_those_of_timm() {
    for network in ["vit_tiny", "vit_small"] {
        check(network);
    }
}

/// Names and shapes are those of the files that people download.
#[test]
fn tensors_are_those_of_published_files() {
    let published = fixture("architectures")["architectures"].clone();
    for (ours, theirs) in NETWORKS {
        let Some(known) = published.get(theirs) else {
            assert!(ours.starts_with("simplecnn"), "{theirs} is not among the published ones");
            continue;
        };
        let shape = Shape { architecture: architecture(ours), classes: 1000, channels: 3, image_size: 224 };
        let digest_of = |name: &dyn Fn(&str) -> String| {
            let line = |spec: &TensorSpec| {
                let sides: Vec<String> = spec.shape.iter().map(usize::to_string).collect();
                format!("{} [{}]\n", name(&spec.name), sides.join(","))
            };
            let mut lines: Vec<String> = shape.tensors().iter().map(line).collect();
            lines.sort();
            sha256(lines.concat().as_bytes())
        };
        let (digest, text) = (digest_of(&str::to_owned), known.to_string());
        assert!(text.contains(&digest), "{ours}: {digest} is not in {text}");
        if known.get("timm_names_sha256").is_some() {
            let digest = digest_of(&|name| shape.architecture.timm_name(name).unwrap());
            assert!(text.contains(&digest), "{ours} of timm: {digest} is not in {text}");
        }
    }
}

/// Steps whose losses agree to the last digits. Afterwards the last digit, which is another one on each kind of processor,
/// may have turned the choice of a maximum or the sign before a ReLU, and the losses part by some 1e-4: on a processor
/// without AVX-512 simplecnn's do from the seventh step on.
const FIRST_STEPS: usize = 6;
/// How far later losses may be apart.
const LATER_STEPS_ALLOWED: f64 = 5e-4;

fn trajectory(ours: &str) {
    let (_, theirs) = NETWORKS.into_iter().find(|(name, _)| *name == ours).unwrap();
    for known in fixture(theirs)["trajectories"].as_array().unwrap() {
        let shape = shape_of(architecture(ours), known).unwrap();
        let (mut network, _) = network(shape, theirs);
        let is_sgd = known["optimizer"] == "SGD";
        let number = |name: &str| known["settings"][name].as_f64();
        let settings = VisionSettings {
            optimizer: if is_sgd { OptimizerKind::Sgd } else { OptimizerKind::AdamW },
            momentum: 0.9,
            weight_decay: number("weight_decay").unwrap(),
            ..VisionSettings::default()
        };
        let mut optimizer = Optimizer::new(&network.weights, &settings);
        let mut losses = Vec::new();
        let labels = known["labels"].as_array().unwrap();
        for step in 0..20 {
            let labels: Vec<u32> = floats(&labels[step % 4]).iter().map(|label| *label as u32).collect();
            let side = shape.image_size;
            let batch = Batch {
                pixels: images(&format!("input.{}", step % 4), labels.len(), shape.channels, side, side),
                weights: vec![1.0; labels.len()],
                labels,
            };
            let out = step::gradients::<Tracked>(&network, batch, None, 0.0, None, &FlexDevice);
            network.weights = optimizer.update(&network.weights, &out.gradients, number("lr").unwrap());
            network.note_moments(&out.moments);
            losses.push(out.loss);
        }
        let (what, theirs) = (format!("{ours}, {}", known["optimizer"]), floats(&known["losses"]));
        let allowed = 10.0 * largest(&floats(&known["losses_error"])) + 2e-5;
        let (begin, rest) = losses.split_at(FIRST_STEPS);
        close(&what, begin, &theirs[..FIRST_STEPS], allowed);
        close(&what, rest, &theirs[FIRST_STEPS..], allowed.max(LATER_STEPS_ALLOWED));
    }
}

#[test]
fn training_takes_the_steps_of_pytorch() {
    trajectory("simplecnn");
    trajectory(FIRST_SIMPLE_CNN);
    trajectory("resnet18");
}

#[test]
fn threads_that_train_at_once_get_the_gradients_that_each_gets_alone() {
    let shape = Shape { architecture: architecture("simplecnn"), classes: 4, channels: 1, image_size: 16 };
    let (network, _) = network(shape, "simplecnn");
    let batch =
        Batch { pixels: images("input", 4, 1, 16, 16), weights: vec![1.0; 4], labels: vec![0, 1, 2, 3] };
    let step = || {
        let out = step::gradients::<Tracked>(&network, batch.clone(), None, 0.0, None, &FlexDevice);
        (out.loss, out.gradients.to_host())
    };
    let alone = step();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..STEPS_AT_ONCE {
                    assert!(step() == alone);
                }
            });
        }
    });
}

/// What is written can be read, and lies in the file as torchvision has it.
#[test]
fn weights_survive_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for name in ["simplecnn", "efficientnet_b0", "vit_tiny"] {
        let shape = Shape {
            architecture: Architecture::named(name).unwrap(),
            classes: 7,
            channels: 3,
            image_size: 32,
        };
        let network: Network<Flex> = shape.draw(1, &FlexDevice);
        weights::save(&network, &path).unwrap();
        let again: Network<Flex> = weights::load(&path, shape, &FlexDevice).unwrap();
        for (name, tensor) in network.weights.iter() {
            assert_eq!(host(tensor), host(again.weights.get(name).unwrap()), "{name}");
        }
        for spec in shape.tensors().iter().filter(|spec| spec.layout == Layout::Kernels) {
            let values: Vec<f32> = (0..spec.shape.iter().product::<usize>()).map(|v| v as f32).collect();
            assert_eq!(spec.to_file(spec.to_memory(values.clone()).values), values, "{}", spec.name);
        }
    }
}

/// A simplecnn of the first revision is no network of today: it can be evaluated as what it is, give its convolutions to
/// a training, and nothing else.
#[test]
fn a_simplecnn_of_the_first_revision_is_told_from_one_of_today() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let shape = |revision| Shape {
        architecture: Architecture::of_revision("simplecnn", revision).unwrap(),
        classes: 7,
        channels: 1,
        image_size: 28,
    };
    let first: Network<Flex> = shape(1).draw(1, &FlexDevice);
    weights::save(&first, &path).unwrap();
    weights::load::<Flex>(&path, shape(1), &FlexDevice).unwrap();
    let problem = weights::load::<Flex>(&path, shape(2), &FlexDevice).unwrap_err().problem();
    assert_eq!(problem.code, "model.earlier_revision");
    let begun = weights::load_pretrained::<Flex>(&path, shape(2), 2, &FlexDevice).unwrap();
    assert!(begun.has_new_head);
    let of = |network: &Network<Flex>| host(network.weights.get("conv2.weight").unwrap());
    assert_eq!(of(&begun.network), of(&first));
    assert_eq!([1, 2].map(|revision| shape(revision).architecture.revision()), [1, 2]);
}

/// A last layer for other classes is drawn anew and said; weights of another network are refused by a tensor's name.
#[test]
fn training_starts_from_weights_that_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let shape = |name: &str, classes| Shape {
        architecture: Architecture::named(name).unwrap(),
        classes,
        channels: 3,
        image_size: 32,
    };
    let network: Network<Flex> = shape("resnet18", 7).draw(1, &FlexDevice);
    weights::save(&network, &path).unwrap();
    let load =
        |name: &str, classes| weights::load_pretrained::<Flex>(&path, shape(name, classes), 2, &FlexDevice);
    let same = load("resnet18", 7).unwrap();
    assert!(!same.has_new_head && !same.has_timms_names);
    assert_eq!(
        host(same.network.weights.get("fc.weight").unwrap()),
        host(network.weights.get("fc.weight").unwrap())
    );
    let other = load("resnet18", 4).unwrap();
    assert!(other.has_new_head);
    assert_eq!(other.network.weights.get("fc.weight").unwrap().dims(), [4, 512]);
    assert_eq!(
        host(other.network.weights.get("conv1.weight").unwrap()),
        host(network.weights.get("conv1.weight").unwrap())
    );
    let problem = load("resnet50", 7).unwrap_err().problem();
    assert_eq!(problem.code, "model.pretrained_unfit");
    assert!(problem.message.contains("layer1.0"), "{problem}");
}

#[test]
fn an_efficientnet_of_timm_starts_a_training() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, timms] = ["ours.safetensors", "timms.safetensors"].map(|name| folder.path().join(name));
    let shape = |classes| Shape {
        architecture: Architecture::named("efficientnet_b0").unwrap(),
        classes,
        channels: 3,
        image_size: 32,
    };
    let network: Network<Flex> = shape(7).draw(1, &FlexDevice);
    weights::save(&network, &ours).unwrap();
    let bytes = fs::read(&ours).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (shape(7).architecture.timm_name(&name).unwrap(), view));
    safetensors::serialize_to_file(renamed, None, &timms).unwrap();
    let load = |classes| weights::load_pretrained::<Flex>(&timms, shape(classes), 2, &FlexDevice).unwrap();
    let loaded = load(7);
    assert!(loaded.has_timms_names && !loaded.has_new_head);
    for name in ["features.0.0.weight", "features.3.1.block.2.fc2.bias", "classifier.1.weight"] {
        let [read, saved] = [&loaded.network, &network].map(|net| host(net.weights.get(name).unwrap()));
        assert_eq!(read, saved, "{name}");
    }
    assert!(load(4).has_new_head);
}

/// What is dropped is a function of the seed, and nothing is dropped in evaluation.
#[test]
fn dropout_is_a_function_of_its_seed() {
    let shape = Shape {
        architecture: Architecture::named("efficientnet_b0").unwrap(),
        classes: 10,
        channels: 3,
        image_size: 32,
    };
    let network: Network<Flex> = shape.draw(1, &FlexDevice);
    let pixels = burn::tensor::TensorData::new(images("input", 8, 3, 32, 32), [8 * 32 * 32, 3]);
    let logits = |mode| host(&network.forward(Tensor::from_data(pixels.clone(), &FlexDevice), mode).0);
    let training = |dropout| logits(Mode::Training { dropout });
    assert_eq!(training(Some(3)), training(Some(3)));
    assert_ne!(training(Some(3)), training(Some(4)));
    assert_ne!(training(Some(3)), training(None));
    assert_eq!(logits(Mode::Evaluation), logits(Mode::Evaluation));
}
