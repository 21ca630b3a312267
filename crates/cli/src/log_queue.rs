//! Standard error of a server: a reader that does not read delays nobody.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::printable::printable;

/// Log lines that wait at most; a client that is slow for a moment misses none.
const WAITING: usize = 1024;

/// Hands lines to a thread that writes them. Lines that find the queue full are dropped, and how many is said once there is
/// room.
#[derive(Clone, Debug)]
pub struct LogQueue {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl LogQueue {
    /// A queue before `to`.
    ///
    /// Errors: there is no thread for it.
    pub fn before(mut to: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = sync_channel::<Vec<u8>>(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let missed = Arc::clone(&dropped);
        let write = move || {
            for line in waiting {
                // If nobody reads the log any more, the server goes on without it.
                let _ = to.write_all(printable(&String::from_utf8_lossy(&line), &[]).as_bytes());
                let missed = missed.swap(0, Ordering::Relaxed);
                if missed > 0 {
                    let _ = writeln!(to, "{missed} log lines were dropped: nobody read standard error");
                }
                let _ = to.flush();
            }
        };
        thread::Builder::new().name(String::from("log")).spawn(write)?;
        Ok(Self { lines, dropped })
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(line.to_vec()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Condvar, Mutex},
        time::{Duration, Instant},
    };

    use super::*;

    /// A pipe that nobody drains until it is opened.
    #[derive(Clone, Debug, Default)]
    struct Pipe(Arc<(Mutex<State>, Condvar)>);

    /// Whether somebody reads, and what has been read.
    type State = (bool, Vec<u8>);

    impl Pipe {
        fn open(&self) {
            self.0.0.lock().unwrap().0 = true;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let state = self.0.0.lock().unwrap();
            let mut state = self.0.1.wait_while(state, |(is_open, _)| !*is_open).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_delays_nobody_and_is_told_what_it_missed() {
        let pipe = Pipe::default();
        let mut queue = LogQueue::before(pipe.clone()).unwrap();
        let begun = Instant::now();
        for number in 0..3 * WAITING {
            queue.write_all(format!("line {number} \u{1b}[2J\n").as_bytes()).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        pipe.open();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !pipe.text().contains("log lines were dropped") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let text = pipe.text();
        assert!(text.starts_with("line 0 \\u{1b}[2J\n"), "{text}");
        assert!(text.contains("log lines were dropped"), "{text}");
    }
}
