//! From draws to the records of a forward pass.

use greentune_core_config::settings::TrainingSettings;

use crate::data::{DataError, Draw, Example, Sampler};

/// The records of one forward pass: `batch_size` of them or, with packing, as many as fit into
/// `batch_size · max_seq_length` tokens, at least one. A record that does not fit is drawn again for the next.
pub(super) fn micro_batch(
    sampler: &mut Sampler,
    training: &TrainingSettings,
    batch_size: u64,
    example: impl Fn(Draw) -> Result<Example, DataError>,
) -> Result<Vec<Example>, DataError> {
    if !training.packing {
        return sampler.by_ref().take(batch_size as usize).map(example).collect();
    }
    let mut room = (batch_size * training.max_seq_length) as usize;
    let mut packed: Vec<Example> = Vec::new();
    loop {
        let drawn = sampler.drawn();
        let Some(next) = sampler.next().map(&example).transpose()? else { return Ok(packed) };
        if next.tokens.len() > room && !packed.is_empty() {
            sampler.seek(drawn);
            return Ok(packed);
        }
        room = room.saturating_sub(next.tokens.len());
        packed.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_fills_batches_and_passes_over_no_draw() {
        let lengths = [30, 7, 12, 21, 3, 18, 25, 9];
        let examples: Vec<Example> = lengths.map(|length| Example::new(vec![1; length], [1..length])).into();
        let weights = vec![1.0; examples.len()];
        let example = |draw: Draw| Ok(examples[draw.index].clone());
        let training = TrainingSettings { packing: true, max_seq_length: 30, ..TrainingSettings::default() };
        let mut plain = Sampler::new(5, &weights, None).unwrap();
        let mut sampler = Sampler::new(5, &weights, None).unwrap();
        for _ in 0..50 {
            let batch = micro_batch(&mut sampler, &training, 2, example).unwrap();
            let tokens: usize = batch.iter().map(|example| example.tokens.len()).sum();
            assert!(tokens <= 60 && tokens > 60 - 30, "{tokens}");
            for record in batch {
                assert_eq!(record, example(plain.next().unwrap()).unwrap());
            }
        }
        assert_eq!(plain.drawn(), sampler.drawn());
    }
}
