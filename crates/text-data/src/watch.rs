//! Work on what strangers wrote, which may never end: it is done in a thread of its own, for which nobody waits longer
//! than an item of it may take.

use std::{
    cell::RefCell,
    fs, io, mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often time and memory are looked at.
const TICK: Duration = Duration::from_millis(10);

/// What templates and tokenizers recurse in; as large as the main thread's usual stack.
const STACK_BYTES: usize = 8 << 20;

/// What one item of the work may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) time: Duration,
    /// Bytes by which the process may grow.
    pub(crate) memory: u64,
}

/// What came of the work.
pub(crate) struct Watched<T> {
    /// What was handed in until the end.
    pub(crate) items: Vec<T>,
    pub(crate) end: End,
}

/// How the work ended.
pub(crate) enum End {
    Done,
    /// With an item that took too long. The thread is left behind; it ends at the next [`go_on`], if it comes to one.
    TooSlow(JoinHandle<()>),
    /// With an item that takes too much memory, and goes on taking it.
    TooMuchMemory,
    /// With a panic.
    Panicked,
}

struct Shared<T> {
    items: Mutex<Vec<T>>,
    is_given_up: Arc<AtomicBool>,
}

thread_local! {
    static IS_GIVEN_UP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// An error once nobody waits any more for the work that calls this.
pub(crate) fn go_on() -> Result<(), io::Error> {
    let is_given_up = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
    if IS_GIVEN_UP.with_borrow(|flag| flag.as_ref().is_some_and(is_given_up)) {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    Ok(())
}

/// Performs `work`, which hands in item after item; each must be there in time.
///
/// # Errors
/// No thread can be started.
pub(crate) fn watch<T: Send + 'static>(
    limits: Limits,
    work: impl FnOnce(&mut dyn FnMut(T)) + Send + 'static,
) -> io::Result<Watched<T>> {
    let is_given_up = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(Shared { items: Mutex::new(Vec::new()), is_given_up: is_given_up.clone() });
    let (working, ended) = mpsc::channel::<()>();
    let theirs = shared.clone();
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let _working = working;
        IS_GIVEN_UP.set(Some(theirs.is_given_up.clone()));
        work(&mut |item| theirs.lock().push(item));
    })?;
    let waited = wait(limits, &shared, &ended);
    is_given_up.store(true, Ordering::Relaxed);
    let mut items = mem::take(&mut *shared.lock());
    let end = match waited {
        Waited::UntilEnd => match thread.join() {
            Ok(()) => End::Done,
            Err(_) => End::Panicked,
        },
        // An item that came after all would have the next one blamed.
        Waited::TooLong { seen } => {
            items.truncate(seen);
            End::TooSlow(thread)
        }
        Waited::Grown => End::TooMuchMemory,
    };
    Ok(Watched { items, end })
}

/// The only item of `work`, or what it takes too much of.
///
/// # Errors
/// As [`watch`].
pub(crate) fn watch_one<T: Send + 'static>(
    limits: Limits,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Result<T, String>> {
    let Watched { items, end } = watch(limits, |push| push(work()))?;
    Ok(items.into_iter().next().ok_or_else(|| match end {
        End::TooMuchMemory => format!("it takes more than {} GiB of memory", limits.memory >> 30),
        End::TooSlow(_) => format!("it takes more than {} seconds", limits.time.as_secs()),
        End::Done | End::Panicked => "it makes its engine fail".to_owned(),
    }))
}

enum Waited {
    UntilEnd,
    /// Since the item number `seen`, from 0.
    TooLong {
        seen: usize,
    },
    Grown,
}

fn wait<T>(limits: Limits, shared: &Shared<T>, ended: &mpsc::Receiver<()>) -> Waited {
    let (mut since, mut seen) = (Instant::now(), 0);
    let before = resident_bytes();
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
        let items = shared.lock().len();
        if items > seen {
            (since, seen) = (Instant::now(), items);
        } else if since.elapsed() > limits.time {
            return Waited::TooLong { seen };
        }
        if let (Some(before), Some(now)) = (before, resident_bytes())
            && now.saturating_sub(before) > limits.memory
        {
            return Waited::Grown;
        }
    }
    Waited::UntilEnd
}

impl<T> Shared<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that the process has, where the system says so as Linux does.
fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_millis(300), memory: u64::MAX };

    #[test]
    fn what_ends_in_time_is_done_and_what_panics_is_heard_of() {
        let done = watch(LIMITS, |push| (0..9).for_each(push)).unwrap();
        assert_eq!(done.items, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(matches!(done.end, End::Done));
        let panicked = watch(LIMITS, |push| {
            push(1);
            panic!("for the test");
        });
        let panicked = panicked.unwrap();
        assert_eq!(panicked.items, [1]);
        assert!(matches!(panicked.end, End::Panicked));
    }

    #[test]
    fn the_time_is_that_of_one_item() {
        let slow = watch(LIMITS, |push| {
            for number in 0..8 {
                thread::sleep(LIMITS.time / 3);
                push(number);
            }
        });
        let slow = slow.unwrap();
        assert_eq!((slow.items.len(), matches!(slow.end, End::Done)), (8, true));
    }

    #[test]
    fn what_takes_too_long_is_left_and_ends_once_it_asks() {
        let left = watch(LIMITS, |push| {
            push(1);
            while go_on().is_ok() {
                thread::sleep(TICK);
            }
            push(2);
        });
        let left = left.unwrap();
        assert_eq!(left.items, [1]);
        let End::TooSlow(thread) = left.end else { panic!("it takes too long") };
        thread.join().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_takes_too_much_memory_is_not_waited_for() {
        let limits = Limits { time: Duration::from_mins(1), memory: 256 << 20 };
        let grown = watch::<()>(limits, |_| {
            let mut taken = Vec::new();
            while go_on().is_ok() {
                taken.push(vec![1_u8; 16 << 20]);
                thread::sleep(TICK / 5);
            }
            drop(taken);
        });
        assert!(matches!(grown.unwrap().end, End::TooMuchMemory));
    }
}
