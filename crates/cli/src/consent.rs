//! Asking a person before something is changed.

use std::io::{self, Write as _};

use greentune_core_config::ProblemKind;

use crate::{failure::Failure, session::Session};

/// Asks `question`, and is done when the answer is yes. `flag` answers it beforehand.
///
/// Errors: the answer is another, or nobody can be asked.
pub async fn consent(session: &Session, question: &str, flag: &str) -> Result<(), Failure> {
    if !session.may_ask() {
        return Err(nobody_to_ask(flag));
    }
    let mut stderr = io::stderr();
    // If this fails, there is nobody who reads the question, and the answer will be missing.
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    // In a thread, so that Ctrl-C is heard meanwhile.
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = read.await.ok().and_then(Result::ok).unwrap_or_default();
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        // Enter alone is an answer; an end without a line is none.
        "" if line.is_empty() => {
            let _ = writeln!(stderr);
            Err(nobody_to_ask(flag))
        }
        _ => Err(Failure::new(ProblemKind::Cancelled, "command.declined", "nothing was written")),
    }
}

fn nobody_to_ask(flag: &str) -> Failure {
    let message = "this needs a yes, and nobody can be asked; nothing was written";
    Failure::new(ProblemKind::InvalidInput, "command.consent_needed", message)
        .with_hint(format!("`{flag}` says yes beforehand, `--dry-run` shows what would be done"))
}
