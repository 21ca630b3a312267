//! Connections live in a thread of their own, so that callers need no runtime and may have one.

use std::{
    future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread,
};

use tokio::runtime::{Builder, Handle};

use crate::HttpError;

/// Started with the first request, for as long as the process lives.
static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);

/// Waits in this thread for what `future` brings, while connections are driven in their own.
///
/// Errors: [`HttpError::Thread`].
pub(crate) fn wait<T>(future: impl Future<Output = Result<T, HttpError>>) -> Result<T, HttpError> {
    let handle = handle()?;
    // Timers and connections of the future register there. Unlike `block_on` this may be called inside another runtime.
    let _entered = handle.enter();
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
        thread::park();
    }
}

fn handle() -> Result<Handle, HttpError> {
    let mut known = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*known {
        return Ok(handle.clone());
    }
    let failed = |error: std::io::Error| HttpError::Thread(error.kind());
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    let drive = move || runtime.block_on(future::pending::<()>());
    thread::Builder::new().name("http".into()).spawn(drive).map_err(failed)?;
    *known = Some(handle.clone());
    Ok(handle)
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
