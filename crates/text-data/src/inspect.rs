//! What the model will see of a data set, before anything is trained.

use std::ops::Range;

use greentune_core_config::task::{
    DatasetCounts, DatasetInspection, InspectTask, InspectedPiece, InspectedRecord,
};
use jiff::Timestamp;

use super::{
    dataset, encode::Encoder, error::DataError, example::Example, record::Record, spelled_out::SpelledOut,
    tokenizer::Tokenizer,
};

/// Reads and encodes the data set as training would, and describes it.
///
/// # Errors
/// As [`Encoder::new`] and [`super::Dataset::load`].
pub fn inspect(task: &InspectTask) -> Result<DatasetInspection, DataError> {
    let encoder = Encoder::new(&task.base_model_path, &task.settings, Timestamp::now())?;
    let (mut lengths, mut labelled_tokens, mut high_quality_records) = (Vec::new(), 0, 0);
    let mut records = Vec::new();
    let mut counts = DatasetCounts::default();
    let mut control_tokens = SpelledOut::of(encoder.tokenizer());
    let keep = |_, record: &Record, example: Example| {
        control_tokens.look_at(record);
        lengths.push(example.tokens.len() as u64);
        labelled_tokens += example.labelled_tokens() as u64;
        high_quality_records += u64::from(example.high_quality);
        if records.len() < task.show {
            records.push(inspected_record(&example, encoder.tokenizer())?);
        }
        Ok(())
    };
    let (format, schema) = dataset::read(&task.dataset, &task.settings, Some(&encoder), &mut counts, keep)?;
    dataset::not_empty(&task.dataset, &counts)?;
    lengths.sort_unstable();
    Ok(DatasetInspection {
        dataset: task.dataset.clone(),
        format,
        schema,
        template_source: encoder.template_source(schema).to_owned(),
        counts,
        high_quality_records,
        tokens_per_record: [0.0, 0.5, 0.95, 1.0].map(|share| quantile(&lengths, share)),
        labelled_tokens,
        total_tokens: lengths.iter().sum(),
        control_tokens: control_tokens.found(),
        records,
    })
}

fn inspected_record(example: &Example, tokenizer: &Tokenizer) -> Result<InspectedRecord, DataError> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    let mut piece = |range: Range<usize>, labelled| -> Result<(), DataError> {
        if !range.is_empty() {
            let text = tokenizer.decode(&example.tokens[range], true)?;
            pieces.push(InspectedPiece { text, labelled });
        }
        Ok(())
    };
    for labelled in &example.labels {
        piece(start..labelled.start, false)?;
        piece(labelled.clone(), true)?;
        start = labelled.end;
    }
    piece(start..example.tokens.len(), false)?;
    Ok(InspectedRecord {
        line: example.line,
        weight: example.weight,
        pieces,
        tokens: example.tokens.len() as u64,
        truncated: example.truncated,
    })
}

/// The smallest of the sorted values that at least `share` of them do not exceed (nearest rank).
fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use greentune_core_config::settings::Settings;

    use super::{
        super::test_model::{CHAT_TEMPLATE, TestModel},
        *,
    };

    fn task(model: &TestModel, show: usize) -> InspectTask {
        InspectTask {
            settings: Settings::default(),
            base_model_path: model.path().to_owned(),
            dataset: model.path().join("data.jsonl"),
            show,
        }
    }

    #[test]
    fn shows_what_the_model_sees() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        model.write_text(
            "data.jsonl",
            "{\"instruction\":\"Add.\",\"input\":\"1 2\",\"output\":\"three\",\"quality\":0.9}\n\
             {\"instruction\":\"Say hi.\",\"output\":\"hi\"}\n{\n",
        );
        let inspection = inspect(&task(&model, 1)).unwrap();
        assert_eq!(inspection.template_source, "chat template of the model");
        assert_eq!(
            (inspection.counts.read, inspection.counts.kept, inspection.counts.broken_lines),
            (3, 2, 1)
        );
        assert_eq!(inspection.high_quality_records, 1);
        assert_eq!(inspection.labelled_tokens, ("three".len() + 1 + "hi".len() + 1) as u64);
        let [least, median, p95, most] = inspection.tokens_per_record;
        assert_eq!((least, p95), (median, most));
        assert_eq!(inspection.total_tokens, least + most);
        let [record] = &inspection.records[..] else { panic!("one record is shown") };
        assert_eq!((record.line, record.weight, record.tokens, record.truncated), (1, 2.5, most, false));
        let pieces: Vec<_> =
            record.pieces.iter().map(|piece| (piece.text.as_str(), piece.labelled)).collect();
        let prompt = "<|user|>\nAdd.\n\n1 2<|end|>\n<|assistant|>\n";
        assert_eq!(pieces, [(prompt, false), ("three<|end|>", true)]);
    }

    #[test]
    fn shows_the_mask_of_every_turn_and_the_schema_found() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        let turns = "{\"conversations\":[{\"from\":\"human\",\"value\":\"Hi\"},{\"from\":\"gpt\",\"value\":\"Hello\"},\
                     {\"from\":\"human\",\"value\":\"Bye\"},{\"from\":\"gpt\",\"value\":\"Ciao\"}]}\n";
        model.write_text("data.jsonl", turns);
        let inspection = inspect(&task(&model, 1)).unwrap();
        assert_eq!((inspection.schema.as_str(), inspection.format.as_str()), ("sharegpt", "jsonl"));
        let labelled: Vec<_> =
            inspection.records[0].pieces.iter().map(|piece| (piece.labelled, piece.text.as_str())).collect();
        assert_eq!(
            labelled,
            [
                (false, "<|user|>\nHi<|end|>\n<|assistant|>\n"),
                (true, "Hello<|end|>"),
                (false, "\n<|user|>\nBye<|end|>\n<|assistant|>\n"),
                (true, "Ciao<|end|>")
            ]
        );
        model.write_text("data.jsonl", "{\"text\":\"once\"}\n");
        assert_eq!(inspect(&task(&model, 1)).unwrap().template_source, "none");
    }

    #[test]
    fn answers_that_the_template_rewrites_are_counted() {
        let source = "{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' and loop.last %}!{% endif %}\
                      {{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";
        let model = TestModel::with_chat_template(source);
        let turn = |role: &str| format!("{{\"role\":\"{role}\",\"content\":\"x\"}}");
        let turns = ["user", "assistant", "user", "assistant"].map(turn).join(",");
        model.write_text("data.jsonl", &format!("{{\"messages\":[{turns}]}}\n").repeat(3));
        let inspection = inspect(&task(&model, 1)).unwrap();
        assert_eq!((inspection.counts.kept, inspection.counts.unlearnt_answers), (3, 3));
    }

    #[test]
    fn quantiles_by_nearest_rank() {
        let values: Vec<u64> = (1..=20).collect();
        assert_eq!([0.0, 0.5, 0.95, 1.0].map(|share| quantile(&values, share)), [1, 10, 19, 20]);
        assert_eq!(quantile(&[4], 0.5), 4);
    }
}
