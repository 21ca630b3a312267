//! Text that models write, token by token.

use std::{path::PathBuf, time::Instant};

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::generation::{
    GenerateTask, GeneratedText, GeneratingModel, GenerationEnd, GenerationNote,
};
use greentune_text_data::{DataError, Encoder, Tokenizer};

use crate::{
    error::TrainError,
    model::{Adapters, Decoder},
    ops::Ops,
    training,
};

/// Hears what is written while it is written.
pub type Listener<'a> = &'a mut dyn FnMut(&GenerationNote);

/// What a model wrote behind a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// Its tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// What ended it.
    pub ended_by: GenerationEnd,
}

/// The most likely continuation of `prompt`, token by token, up to a stop token or `limit` tokens.
pub fn generate<B: Ops>(
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    prompt: &[u32],
    stop_ids: &[u32],
    limit: usize,
) -> Vec<u32> {
    let never = |_: &[u32]| Ok::<_, std::convert::Infallible>(());
    match continuation(decoder, adapters, prompt, stop_ids, limit, never) {
        Ok(continuation) => continuation.tokens,
    }
}

/// The same, and what ended it; `each` is called with all tokens after each one. Keys and values of earlier tokens are
/// kept, so that a token costs one row of products.
///
/// Errors: those of `each`, which end it.
pub(super) fn continuation<B: Ops, E>(
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    prompt: &[u32],
    stop_ids: &[u32],
    limit: usize,
    mut each: impl FnMut(&[u32]) -> Result<(), E>,
) -> Result<Continuation, E> {
    let room = decoder.config().max_position_embeddings.saturating_sub(prompt.len());
    let (mut cache, mut tokens) = (decoder.cache(), Vec::new());
    let mut unread = prompt.to_vec();
    loop {
        if tokens.len() >= limit.min(room) {
            let ended_by = if limit <= room { GenerationEnd::MaxTokens } else { GenerationEnd::Context };
            return Ok(Continuation { tokens, ended_by });
        }
        let likeliest = on_pool(|| {
            let hidden = decoder.extend(&unread, &mut cache, adapters);
            let logits = decoder.logits(hidden.narrow(0, unread.len() - 1, 1));
            logits.argmax(1).into_data().iter::<i64>().next()
        });
        match likeliest.map(|token| token as u32).filter(|token| !stop_ids.contains(token)) {
            None => return Ok(Continuation { tokens, ended_by: GenerationEnd::StopToken }),
            Some(token) => tokens.push(token),
        }
        each(&tokens)?;
        unread = tokens[tokens.len() - 1..].to_vec();
    }
}

/// Takes a step on one of the threads that the processor's products run on: a step is hundreds of them, and each one that
/// another thread begins is handed over. Not for a process that trains: the pool's threads would keep memory of their own.
fn on_pool<R: Send>(step: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| step())
}

/// What the models of `task` answer, for each prompt in turn.
pub(crate) fn of_task<A>(
    task: &GenerateTask,
    device: &A::Device,
    listener: Listener<'_>,
) -> Result<Vec<Vec<GeneratedText>>, TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let opened = task.models.iter().map(|model| Opened::<A>::open(model, device));
    let opened: Vec<_> = opened.collect::<Result<_, _>>()?;
    let of_prompt = |(index, prompt): (usize, &String)| {
        let mut texts = Vec::new();
        for model in &opened {
            let prompt = model.encoder.prompt(task.system.as_deref(), prompt, task.raw)?;
            for (name, adapters) in &model.variants {
                listener(&GenerationNote::Begins { prompt: index, model: name.clone() });
                let text =
                    model.answer(name, adapters.as_ref(), &prompt.tokens, task.max_tokens, listener)?;
                listener(&GenerationNote::Ends(text.clone()));
                texts.push(text);
            }
        }
        Ok(texts)
    };
    task.prompts.iter().enumerate().map(of_prompt).collect()
}

/// A model in memory.
pub(super) struct Opened<A: AutodiffBackend<InnerBackend: Ops>> {
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder<A::InnerBackend>,
    pub(super) variants: Vec<(String, Option<Adapters<A::InnerBackend>>)>,
}

impl<A: AutodiffBackend<InnerBackend: Ops>> Opened<A> {
    pub(super) fn open(model: &GeneratingModel, device: &A::Device) -> Result<Self, TrainError> {
        // Training cuts records; an answer may use all that the model can attend to.
        let mut settings = model.settings.clone();
        settings.training.max_seq_length = u64::MAX;
        let (encoder, decoder) = training::open_to_write::<A>(&model.folder, &settings, model.at, device)?;
        let load = |folder: &PathBuf| Adapters::<A::InnerBackend>::load(folder, &decoder, device);
        let variants = model
            .variants
            .iter()
            .map(|variant| Ok((variant.name.clone(), variant.adapters.as_ref().map(load).transpose()?)));
        let variants = variants.collect::<Result<_, TrainError>>()?;
        Ok(Self { encoder, decoder, variants })
    }

    fn answer(
        &self,
        name: &str,
        adapters: Option<&Adapters<A::InnerBackend>>,
        prompt: &[u32],
        max_tokens: u64,
        listener: Listener<'_>,
    ) -> Result<GeneratedText, TrainError> {
        let begin = Instant::now();
        let tokenizer = self.encoder.tokenizer();
        let limit = usize::try_from(max_tokens).unwrap_or(usize::MAX);
        let mut told = Told { tokenizer, text: String::new(), listener };
        let each = |tokens: &[u32]| told.tell(tokens);
        let Continuation { tokens, ended_by } =
            continuation(&self.decoder, adapters, prompt, tokenizer.stop_ids(), limit, each)?;
        Ok(GeneratedText {
            model: name.to_owned(),
            text: tokenizer.decode(&tokens, false)?,
            prompt_tokens: prompt.len() as u64,
            tokens: tokens.len() as u64,
            seconds: begin.elapsed().as_secs_f64(),
            ended_by,
        })
    }
}

/// What the listener has heard of an answer.
struct Told<'a, 'b> {
    tokenizer: &'a Tokenizer,
    text: String,
    listener: Listener<'b>,
}

impl Told<'_, '_> {
    /// Tells what is new. A character whose bytes are not all there yet waits for them.
    fn tell(&mut self, tokens: &[u32]) -> Result<(), DataError> {
        let text = self.tokenizer.decode(tokens, false)?;
        let new = text.strip_prefix(&self.text).filter(|new| !new.is_empty());
        if let Some(new) = new.filter(|new| !new.ends_with(char::REPLACEMENT_CHARACTER)) {
            (self.listener)(&GenerationNote::Writes { text: new.to_owned() });
            self.text = text;
        }
        Ok(())
    }
}
