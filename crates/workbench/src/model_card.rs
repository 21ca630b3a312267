//! The short model card that an export carries: what was trained, on what, how well, at what cost.

use std::fmt::Write as _;

use greentune_core_config::{
    evaluation::EvaluationReport,
    event::EmissionsSoFar,
    manifest::{RunManifest, StageRecord},
};

/// Markdown, with the Hugging Face Hub's metadata in front, for the adapters of `stage` or, when `merged`, the model
/// with the adapters merged in. Figures that are not known are left out, not guessed.
pub(crate) fn model_card(manifest: &RunManifest, stage: &StageRecord, merged: bool) -> String {
    let settings = &manifest.settings;
    let trained: Vec<_> = manifest.stages.iter().filter(|record| record.stage <= stage.stage).collect();
    let metered: Vec<_> = trained.iter().filter_map(|record| record.emissions.as_ref()).collect();
    let model = match settings.base_model.model_id.as_str() {
        "" => manifest.base_model_path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        id => id.to_owned(),
    };
    let what = if merged { "model, the adapters merged into its weights" } else { "LoRA adapters" };
    let mut card = metadata(manifest, &metered, merged);
    let _ = write!(
        card,
        "\n# {name}\n\n{description}{what} of the run `{run}`, stage {stage}, fine-tuned from {model} with greentune \
         {version}.\n\n## Training\n\n{adapters}, alpha {alpha}, on {targets}; base weights kept as {weights}; seed {seed}.\n\n\
         | stage | steps | records per step | learning rate | training records |\n|---|---|---|---|---|\n",
        name = inline(&settings.project.name),
        description = paragraph(&settings.project.description),
        what = capitalised(what),
        run = manifest.run_id,
        stage = stage.stage,
        model = inline(&model),
        version = manifest.greentune_version,
        adapters = settings.lora.describe(),
        weights = settings.frozen_weights(),
        alpha = settings.lora.alpha,
        targets = inline(&settings.lora.targets().join(", ")),
        seed = settings.training.seed,
    );
    for record in &trained {
        card.push_str(&training_row(manifest, record));
    }
    card.push_str(&evaluation(stage));
    card.push_str(&emissions(&metered));
    card
}

fn metadata(manifest: &RunManifest, metered: &[&EmissionsSoFar], merged: bool) -> String {
    let mut lines = vec![String::from("---")];
    if !manifest.settings.base_model.model_id.is_empty() {
        lines.push(format!("base_model: {}", quoted(&manifest.settings.base_model.model_id)));
    }
    lines.push(format!("library_name: {}", if merged { "transformers" } else { "peft" }));
    lines.push(String::from("tags:\n- greentune\n- lora"));
    if let Some(grams) = total_grams(metered) {
        lines.push(format!(
            "co2_eq_emissions:\n  emissions: {grams}\n  source: {}\n  training_type: fine-tuning",
            quoted(&format!("greentune, energy {}", basis(metered)))
        ));
    }
    lines.push(String::from("---\n"));
    lines.join("\n")
}

fn training_row(manifest: &RunManifest, record: &StageRecord) -> String {
    let settings = manifest.settings.training.stage(record.stage);
    let data = manifest.data.train_of(record.stage);
    let hash = manifest.input_hashes.get(&*data.to_string_lossy());
    format!(
        "| {} | {} | {} | {} | {}{} |\n",
        record.stage,
        record.steps_done,
        settings.batch_size * settings.gradient_accumulation,
        settings.learning_rate,
        inline(&data.file_name().unwrap_or_default().to_string_lossy()),
        hash.map(|hash| format!(", SHA-256 `{hash}`")).unwrap_or_default(),
    )
}

fn evaluation(stage: &StageRecord) -> String {
    if stage.evaluations.is_empty() {
        return String::from("\n## Evaluation\n\nThis stage was not evaluated when it ended.\n");
    }
    let mut section = String::from(
        "\n## Evaluation\n\n| model | data | records | perplexity | token accuracy | exact match | BLEU |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for report in &stage.evaluations {
        section.push_str(&evaluation_row(report));
    }
    section
}

fn evaluation_row(report: &EvaluationReport) -> String {
    let generated = |figure: Option<f64>| match figure {
        Some(figure) => format!("{figure:.3} of {}", report.generated_records),
        None => String::from("not generated"),
    };
    format!(
        "| {} | {} | {} | {:.3} | {:.3} | {} | {} |\n",
        report.model,
        inline(&report.dataset_role),
        report.records,
        report.perplexity,
        report.token_accuracy,
        generated(report.exact_match),
        generated(report.bleu),
    )
}

fn emissions(metered: &[&EmissionsSoFar]) -> String {
    let Some(grams) = total_grams(metered) else {
        return String::from("\n## Energy and emissions\n\nTraining was not metered.\n");
    };
    let watt_hours: f64 = metered.iter().map(|stage| stage.energy_kwh * 1000.0).sum();
    let seconds: f64 = metered.iter().map(|stage| stage.duration_seconds).sum();
    format!(
        "\n## Energy and emissions\n\n{grams:.3} g CO2-equivalent from {watt_hours:.3} Wh over {seconds:.0} s; energy \
         {}. Training alone is counted, not the making of the base model.\n",
        basis(metered)
    )
}

fn total_grams(metered: &[&EmissionsSoFar]) -> Option<f64> {
    (!metered.is_empty()).then(|| metered.iter().map(|stage| stage.emissions_kg_co2 * 1000.0).sum())
}

/// `measured` or `modelled` when all stages agree, else `mixed`.
fn basis<'a>(metered: &[&'a EmissionsSoFar]) -> &'a str {
    let first = metered.first().map_or("mixed", |stage| stage.basis.as_str());
    if metered.iter().all(|stage| stage.basis == first) { first } else { "mixed" }
}

fn paragraph(text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { format!("{}\n\n", inline(text)) }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// `text` as one line of Markdown that means nothing but itself.
fn inline(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.trim().chars() {
        if character.is_control() {
            escaped.push(' ');
            continue;
        }
        if "\\`*[]<>|#~".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// `text` as a YAML double-quoted scalar; JSON strings are a subset of them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_text_cannot_become_markup() {
        assert_eq!(inline("a|b\n# <script> `x`"), r"a\|b \# \<script\> \`x\`");
        assert_eq!(quoted("a\"b: c\n"), r#""a\"b: c\n""#);
    }
}
