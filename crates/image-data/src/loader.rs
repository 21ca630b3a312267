//! Batches, rendered in threads ahead of training and handed out in the order of the requests.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{
    error::ImageDataError,
    part::{Part, Unreadable},
    render::{Pipeline, Renderer, View},
};

/// Samples that must have been tried before their share of unreadable ones ends loading.
const TRIED_BEFORE_ENDING: u64 = 100;

/// Images as a model sees them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// `n · height · width` rows of `channels` values: NHWC, flattened.
    pub pixels: Vec<f32>,
    /// By image, the place of its class.
    pub labels: Vec<u32>,
    /// By image, the sample's id. Those that cannot be read are left out, so a batch may even be empty.
    pub ids: Vec<u32>,
    /// Samples that were found unreadable here for the first time.
    pub unreadable: Vec<(u32, Unreadable)>,
}

/// Renders batches of a part in threads of its own. Each batch is the work of one thread, so what it holds depends on
/// the request alone.
///
/// Requests may be many: ids are all that waits. At most `threads + ahead` batches are in memory beside the one that
/// was handed out last.
pub struct Loader {
    part: Part,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    requested: u64,
    tried: u64,
    failed: u64,
    known: HashSet<u32>,
}

struct Shared {
    state: Mutex<State>,
    /// Something was requested, taken or is over.
    to_do: Condvar,
    /// A batch is finished.
    done: Condvar,
    /// Batches that may be finished or in work beyond the next one.
    window: u64,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    finished: BTreeMap<u64, Result<Batch, ImageDataError>>,
    /// Number of the batch that is handed out next.
    next: u64,
    is_over: bool,
}

struct Request {
    number: u64,
    ids: Vec<u32>,
    epoch: u64,
    view: View,
}

impl Loader {
    /// Starts `threads` threads (at least one) that render up to `ahead` finished batches in advance.
    pub fn new(
        part: &Part,
        pipeline: &Pipeline,
        threads: usize,
        ahead: usize,
    ) -> Result<Self, ImageDataError> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            to_do: Condvar::new(),
            done: Condvar::new(),
            window: (threads + ahead) as u64,
        });
        let mut loader = Self {
            part: part.clone(),
            shared,
            threads: Vec::new(),
            requested: 0,
            tried: 0,
            failed: 0,
            known: HashSet::new(),
        };
        for number in 0..threads {
            let mut worker = Worker {
                part: part.clone(),
                renderer: Renderer::new(pipeline)?,
                values: pipeline.values(),
                shared: loader.shared.clone(),
            };
            let thread = thread::Builder::new().name(format!("images-{number}")).spawn(move || worker.work());
            loader.threads.push(thread.map_err(|error| ImageDataError::Thread(error.to_string()))?);
        }
        Ok(loader)
    }

    /// Asks for a batch of these samples; [`Loader::next_batch`] gives it after all that were asked for before.
    pub fn request(&mut self, ids: Vec<u32>, epoch: u64, view: View) -> Result<(), ImageDataError> {
        let len = self.part.len();
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= len) {
            return Err(ImageDataError::UnknownSample { id, len });
        }
        self.shared.lock().requests.push_back(Request { number: self.requested, ids, epoch, view });
        self.requested += 1;
        self.shared.to_do.notify_one();
        Ok(())
    }

    /// Waits for the batch that was requested first; none when nothing is left to wait for. An error when, of 100
    /// samples or more, over a tenth could not be read.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, ImageDataError> {
        let mut state = self.shared.lock();
        if state.next == self.requested {
            return Ok(None);
        }
        let batch = loop {
            let next = state.next;
            if let Some(batch) = state.finished.remove(&next) {
                break batch;
            }
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.next += 1;
        drop(state);
        self.shared.to_do.notify_all();
        let mut batch = batch?;
        self.tried += (batch.ids.len() + batch.unreadable.len()) as u64;
        self.failed += batch.unreadable.len() as u64;
        if let Some((_, example)) = batch.unreadable.first()
            && self.tried >= TRIED_BEFORE_ENDING
            && self.failed * 10 > self.tried
        {
            let example = example.clone();
            return Err(ImageDataError::TooManyUnreadable {
                failed: self.failed,
                tried: self.tried,
                example,
            });
        }
        batch.unreadable.retain(|(id, _)| self.known.insert(*id));
        Ok(Some(batch))
    }

    /// Different samples that were found unreadable so far.
    pub fn unreadable(&self) -> usize {
        self.known.len()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.to_do.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so in its batch.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Nothing that can panic is done under the lock, so a poisoned one holds a whole state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request within the window; none at the end.
    fn take(&self) -> Option<Request> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            let limit = state.next + self.window;
            if state.requests.front().is_some_and(|request| request.number < limit) {
                return state.requests.pop_front();
            }
            state = self.to_do.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a thread has.
struct Worker {
    part: Part,
    renderer: Renderer,
    values: usize,
    shared: Arc<Shared>,
}

impl Worker {
    fn work(&mut self) {
        while let Some(request) = self.shared.take() {
            let rendered = catch_unwind(AssertUnwindSafe(|| self.render(&request)));
            let batch = rendered.map_err(|_| ImageDataError::Thread("one ended in a panic".to_owned()));
            self.shared.lock().finished.insert(request.number, batch);
            self.shared.done.notify_one();
        }
    }

    fn render(&mut self, request: &Request) -> Batch {
        let mut batch = Batch { pixels: vec![0.0; request.ids.len() * self.values], ..Batch::default() };
        for &id in &request.ids {
            let start = batch.ids.len() * self.values;
            let out = &mut batch.pixels[start..start + self.values];
            let image = self.part.image(id);
            let rendered = image.and_then(|image| {
                let rendered = self.renderer.render(&image, request.view, request.epoch, id, out);
                self.part.named(id, rendered)
            });
            match rendered {
                Ok(()) => {
                    batch.ids.push(id);
                    batch.labels.push(self.part.labels()[id as usize]);
                }
                Err(unreadable) => batch.unreadable.push((id, unreadable)),
            }
        }
        batch.pixels.truncate(batch.ids.len() * self.values);
        batch
    }
}
