//! Signals that ask a command to end.

use greentune_core_config::ProblemKind;

use crate::failure::Failure;

/// Awaits `work` until it ends or this process is asked to end. What was half done is gone then.
pub async fn unless_asked_to_end(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        ended = work => ended,
        () = asked_to_end() => Err(Failure::new(
            ProblemKind::Cancelled,
            "command.stopped",
            "stopped before it was done; nothing was written",
        )),
    }
}

/// Awaits `service` until it ends or this process is asked to end, as a service is when it has done its work.
pub async fn until_asked_to_end(service: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        ended = service => ended,
        () = asked_to_end() => Ok(()),
    }
}

/// Waits for Ctrl-C, a hang-up or a request to end.
#[cfg(unix)]
pub async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut hangup), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::hangup()), signal(SignalKind::terminate()))
    else {
        // The process ends as it would without us.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub async fn asked_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
