//! Names of timm for tensors that torchvision calls otherwise.

/// timm's name of a tensor of torchvision's EfficientNet; the table is checked by `fixtures/vision/timm_names.py`.
pub fn efficientnet_name_in_timm(name: &str) -> Option<String> {
    const OUTSIDE: [(&str, &str); 5] = [
        ("features.0.0", "conv_stem"),
        ("features.0.1", "bn1"),
        ("features.8.0", "conv_head"),
        ("features.8.1", "bn2"),
        ("classifier.1", "classifier"),
    ];
    const FIRST_STAGE: [(&str, &str); 6] = [
        ("0.0", "conv_dw"),
        ("0.1", "bn1"),
        ("1.fc1", "se.conv_reduce"),
        ("1.fc2", "se.conv_expand"),
        ("2.0", "conv_pw"),
        ("2.1", "bn2"),
    ];
    const LATER_STAGES: [(&str, &str); 8] = [
        ("0.0", "conv_pw"),
        ("0.1", "bn1"),
        ("1.0", "conv_dw"),
        ("1.1", "bn2"),
        ("2.fc1", "se.conv_reduce"),
        ("2.fc2", "se.conv_expand"),
        ("3.0", "conv_pwl"),
        ("3.1", "bn3"),
    ];
    let of = |table: &[(&'static str, &'static str)], module: &str| {
        table.iter().find(|(ours, _)| *ours == module).map(|(_, timms)| *timms)
    };
    let (module, tensor) = name.rsplit_once('.')?;
    if let Some(module) = of(&OUTSIDE, module) {
        return Some(format!("{module}.{tensor}"));
    }
    let (stage, rest) = module.strip_prefix("features.")?.split_once('.')?;
    let (block, part) = rest.split_once(".block.")?;
    let stage = stage.parse::<usize>().ok()?.checked_sub(1)?;
    let part = of(if stage == 0 { &FIRST_STAGE } else { &LATER_STAGES }, part)?;
    Some(format!("blocks.{stage}.{block}.{part}.{tensor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_timm() {
        for (name, timms) in [
            ("features.0.0.weight", Some("conv_stem.weight")),
            ("features.1.0.block.1.fc1.bias", Some("blocks.0.0.se.conv_reduce.bias")),
            ("features.3.1.block.3.1.running_mean", Some("blocks.2.1.bn3.running_mean")),
            ("features.8.1.bias", Some("bn2.bias")),
            ("classifier.1.weight", Some("classifier.weight")),
            ("layer1.0.conv1.weight", None),
        ] {
            assert_eq!(efficientnet_name_in_timm(name).as_deref(), timms, "{name}");
        }
    }
}
