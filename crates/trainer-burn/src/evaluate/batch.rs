//! Text that a model writes behind several prompts at once: its weights are read once for all of them.

use burn::tensor::{Int, Tensor, TensorData};

use crate::{
    model::{Adapters, Decoder},
    ops::Ops,
};

/// A prompt, and how many tokens may be written behind it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its tokens, at least one.
    pub prompt: &'a [u32],
    /// The most that is written.
    pub limit: usize,
}

/// The most likely continuations of prompts of any lengths, each up to a stop token, its limit or the model's context: what
/// [`generate`](super::generate()) writes behind each alone, but for rounding.
pub fn generate_all<B: Ops>(
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    wanted: &[Wanted<'_>],
    stop_ids: &[u32],
) -> Vec<Vec<u32>> {
    let context = decoder.config().max_position_embeddings;
    let limits: Vec<usize> =
        wanted.iter().map(|one| one.limit.min(context.saturating_sub(one.prompt.len()))).collect();
    let mut written: Vec<Vec<u32>> = vec![Vec::new(); wanted.len()];
    let mut active: Vec<usize> = (0..wanted.len()).filter(|&index| limits[index] > 0).collect();
    let mut unread: Vec<Vec<u32>> = active.iter().map(|&index| wanted[index].prompt.to_vec()).collect();
    let mut cache = decoder.cache();
    while !active.is_empty() {
        let sequences: Vec<&[u32]> = unread.iter().map(Vec::as_slice).collect();
        let hidden = decoder.extend_all(&sequences, &mut cache, adapters);
        let likeliest = likeliest(decoder, hidden, &sequences);
        let goes_on = |(&index, token): (&usize, u32)| {
            if stop_ids.contains(&token) {
                return false;
            }
            written[index].push(token);
            written[index].len() < limits[index]
        };
        let keeps: Vec<bool> = active.iter().zip(likeliest).map(goes_on).collect();
        cache.retain(&keeps);
        let mut kept = keeps.into_iter();
        active.retain(|_| kept.next() == Some(true));
        unread = active.iter().map(|&index| written[index][written[index].len() - 1..].to_vec()).collect();
    }
    written
}

/// The most likely token behind each of `sequences`, whose rows of `hidden` stand one after another.
fn likeliest<B: Ops>(decoder: &Decoder<B>, hidden: Tensor<B, 2>, sequences: &[&[u32]]) -> Vec<u32> {
    let mut rows = 0;
    let last = sequences.iter().map(|tokens| {
        rows += tokens.len() as i32;
        rows - 1
    });
    let last: Vec<i32> = last.collect();
    let data = TensorData::new(last, [sequences.len()]);
    let last = Tensor::<B, 1, Int>::from_data(data, &hidden.device());
    let logits = decoder.logits(hidden.select(0, last));
    logits.argmax(1).into_data().iter::<i64>().map(|token| token as u32).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::backend::{Flex, flex::FlexDevice};
    use greentune_core_config::settings::Settings;
    use greentune_text_data::Encoder;
    use jiff::Timestamp;

    use super::*;
    use crate::{
        evaluate::generate,
        model::{config, weights},
    };

    #[test]
    fn prompts_of_different_lengths_get_the_text_that_each_gets_alone() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/base-model");
        let encoder = Encoder::new(&model, &Settings::default(), Timestamp::UNIX_EPOCH).unwrap();
        let config = config::read(&model).unwrap();
        let weights = weights::load::<Flex>(&model, &config, None, &FlexDevice).unwrap();
        let decoder = Decoder::new(config, weights);
        let texts = [
            "Sleep",
            "Sleep was short and activity was",
            "The person walked a lot today and the heart rate was low. What should be done tomorrow?",
            "Steps were many",
            "A",
        ];
        let prompts: Vec<Vec<u32>> =
            texts.iter().map(|text| encoder.tokenizer().encode(text).unwrap()).collect();
        let limits = [24, 3, 40, 0, 17];
        let wanted: Vec<Wanted<'_>> =
            prompts.iter().zip(limits).map(|(prompt, limit)| Wanted { prompt, limit }).collect();
        let alone = |stop_ids: &[u32]| -> Vec<Vec<u32>> {
            let one = |one: &Wanted<'_>| generate(&decoder, None, one.prompt, stop_ids, one.limit);
            wanted.iter().map(one).collect()
        };
        let whole = alone(&[]);
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), limits);
        assert_eq!(generate_all(&decoder, None, &wanted, &[]), whole);
        // A stop token in the middle of the third text ends it, and perhaps others, while the rest goes on.
        let stop_ids = [whole[2][5]];
        let stopped = alone(&stop_ids);
        assert!(stopped[2].len() <= 5);
        assert_eq!(generate_all(&decoder, None, &wanted, &stop_ids), stopped);
        assert_eq!(generate_all(&decoder, None, &[], &[]), Vec::<Vec<u32>>::new());
    }
}
