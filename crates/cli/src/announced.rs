//! Commands that are announced and not there yet: refused by name, with what does the work now.

use greentune_core_config::ProblemKind;

use crate::failure::Failure;

/// Words of a command, what it is to do, and what to do instead.
const ANNOUNCED: &[(&str, &str, &str)] = &[
    ("sweep", "a sweep", "make a run for each setting with `--set KEY=VALUE`, then use `greentune compare`"),
    (
        "deploy-space",
        "deploying a Space",
        "upload the model with `greentune export RUN --stage N --format huggingface --to DIR --upload --repo R`",
    ),
    (
        "submit",
        "submitting to a competition",
        "write the card with `greentune card RUN --template competition`, and submit on the platform's site",
    ),
    (
        "login",
        "signing in",
        "set HF_TOKEN, or sign in with the Hugging Face client: greentune reads its token",
    ),
    ("logout", "signing out", "unset HF_TOKEN, or sign out with the Hugging Face client"),
];

/// The failure of an announced command, when `arguments` (without the program) call one.
pub fn announced(arguments: impl IntoIterator<Item = String>) -> Option<Failure> {
    let words: Vec<_> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    let calls = |command: &str| {
        let command: Vec<_> = command.split(' ').collect();
        words.windows(command.len()).next().is_some_and(|first| first == command)
    };
    let (command, what, instead) = ANNOUNCED.iter().find(|(command, ..)| calls(command))?;
    let message = format!("`greentune {command}`: {what} is not available yet");
    Some(Failure::new(ProblemKind::Unsupported, "feature.unavailable", message).with_hint(*instead))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::CommandLine;

    fn refused(line: &str) -> Option<String> {
        announced(line.split(' ').map(str::to_owned)).map(|Failure(problem)| problem.message)
    }

    #[test]
    fn announced_commands_are_refused_by_name() {
        assert_eq!(
            refused("submit RUN").as_deref(),
            Some("`greentune submit`: submitting to a competition is not available yet")
        );
        assert!(refused("--json sweep spec.toml").is_some());
        assert_eq!(refused("mcp"), None);
        assert_eq!(refused("runs sync r"), None);
        assert_eq!(refused("submitt"), None);
    }

    #[test]
    fn what_is_there_is_not_refused() {
        let line = CommandLine::command();
        for (command, ..) in ANNOUNCED {
            let mut at = Some(&line);
            for word in command.split(' ') {
                at = at.and_then(|command| command.find_subcommand(word));
            }
            assert!(at.is_none(), "`{command}` is there: drop its refusal");
        }
    }
}
