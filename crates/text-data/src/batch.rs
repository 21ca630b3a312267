//! Records as examples, a batch at a time under watch: one that takes too long is left out.

use std::{path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use super::{
    encode::Encoder,
    error::{CHANGE_RECORD, DataError, TOKENIZER_GAVE_UP, TOO_SLOW},
    example::Example,
    record::{Record, Records},
    rows::{Fault, Reason, Rejection},
    schema::{Body, Turn},
    watch::{self, End, Limits, Watched},
};

/// What a record may take. The longest text that is tokenised takes a few seconds and half a GiB.
pub(super) const LIMITS: Limits = Limits { time: Duration::from_secs(30), memory: 2 << 30 };

/// Threads that are left behind at most: each keeps a processor busy.
const MOST_LEFT_BEHIND: usize = 2;

/// Records of a batch, so that watching costs nothing that counts; and the bytes of their texts, so that a batch takes no
/// more memory than a large record.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// Records in the file's order.
pub(super) type Batch = Vec<Result<Record, Rejection>>;

/// What becomes of a record; nothing of a row that gives none.
pub(super) type Encoded = Option<Result<Result<Example, Fault>, DataError>>;

/// The next records of a file, none at its end; and the error that ends them, if there is one.
pub(super) fn next(records: &mut Records<'_>) -> (Batch, Option<DataError>) {
    let (mut batch, mut bytes) = (Batch::new(), 0);
    while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
        match records.next() {
            Some(Ok(record)) => {
                bytes += record.as_ref().map_or(0, |record| text_bytes(&record.body));
                batch.push(record);
            }
            Some(Err(error)) => return (batch, Some(error)),
            None => break,
        }
    }
    (batch, None)
}

/// Encodes batch after batch of the records of `path`.
pub(super) struct Batches<'a> {
    path: &'a Path,
    encoder: Option<&'a Encoder>,
    limits: Limits,
    left_behind: Vec<JoinHandle<()>>,
}

impl<'a> Batches<'a> {
    /// Without an encoder a record is an example of no tokens.
    pub(super) fn new(path: &'a Path, encoder: Option<&'a Encoder>) -> Self {
        Self {
            path,
            encoder,
            limits: encoder.map_or(LIMITS, |encoder| encoder.limits),
            left_behind: Vec::new(),
        }
    }

    /// What becomes of each record of the batch, up to the first error.
    pub(super) fn encode(&mut self, batch: &Arc<Batch>) -> Result<Vec<Encoded>, DataError> {
        let Some(encoder) = self.encoder else {
            let empty = |_: &Record| Ok(Ok(Example::new(Vec::new(), [])));
            return Ok(batch.iter().map(|record| record.as_ref().ok().map(empty)).collect());
        };
        let mut encoded: Vec<Encoded> = Vec::with_capacity(batch.len());
        while encoded.len() < batch.len() {
            let (to, records, start) = (encoder.clone(), Arc::clone(batch), encoded.len());
            let work = move |push: &mut dyn FnMut(Encoded)| {
                for record in &records[start..] {
                    let encoded = record.as_ref().ok().map(|record| to.encode(record));
                    let is_last = matches!(encoded, Some(Err(_)));
                    push(encoded);
                    if is_last {
                        break;
                    }
                }
            };
            let unwatched = |source| DataError::Unreadable { path: self.path.to_owned(), source };
            let Watched { items, end } = watch::watch(self.limits, work).map_err(unwatched)?;
            encoded.extend(items);
            if matches!(encoded.last(), Some(Some(Err(_)))) {
                break;
            }
            if let Some(Ok(record)) = batch.get(encoded.len()) {
                encoded.push(Some(self.blamed(end, record.line)));
            }
        }
        Ok(encoded)
    }

    /// What becomes of the record on `line`, with which the work ended.
    fn blamed(&mut self, end: End, line: u64) -> Result<Result<Example, Fault>, DataError> {
        let path = || self.path.to_owned();
        let seconds = self.limits.time.as_secs();
        match end {
            End::TooMuchMemory => {
                Err(DataError::TooMuchMemory { path: path(), line, most: self.limits.memory })
            }
            End::TooSlow(thread) => {
                self.left_behind.retain(|thread| !thread.is_finished());
                self.left_behind.push(thread);
                let records = self.left_behind.len();
                if records > MOST_LEFT_BEHIND {
                    return Err(DataError::TooSlow { path: path(), records, line, seconds });
                }
                let message = format!(
                    "the prompt template and the tokenizer take more than {seconds} seconds for the record"
                );
                Ok(Err(given_up(TOO_SLOW, message)))
            }
            End::Done | End::Panicked => {
                let message =
                    "the prompt template or the tokenizer fails on the record with a fault of its own";
                Ok(Err(given_up(TOKENIZER_GAVE_UP, message.to_owned())))
            }
        }
    }
}

/// The fault of a record that takes too much work.
pub(super) fn given_up(code: &'static str, message: String) -> Fault {
    Fault::new(Reason::GivenUp, code, message).with_hint(CHANGE_RECORD)
}

/// About the bytes of a record's texts.
fn text_bytes(body: &Body) -> usize {
    let turns = |turns: &[Turn]| turns.iter().map(|turn| turn.content.len() + 256).sum::<usize>();
    match body {
        Body::Instruction { before, instruction, input, response } => {
            turns(before) + instruction.len() + input.len() + response.len()
        }
        Body::Conversation(conversation) => turns(&conversation.turns),
        Body::Completion { prompt, completion } => prompt.len() + completion.len(),
    }
}
