//! Where answers, notes and problems go: people or programs, colours or none.

use std::{
    borrow::Cow,
    io::{self, Write},
    process::ExitCode,
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use greentune_core_config::{Location, Problem, ProblemKind};
use serde::Serialize;

use crate::{
    advice::quoted, exit_code::exit_code, failure::Failure, global_flags::GlobalFlags, printable::printable,
};

/// How this process answers.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    verbose: bool,
    answers: Paint,
    notes: Paint,
}

impl Output {
    /// The output that `flags` ask for; colours only where a terminal shows them and `NO_COLOR` is not set.
    pub fn new(flags: &GlobalFlags) -> Self {
        Self {
            json: flags.json,
            quiet: flags.quiet,
            verbose: flags.verbose,
            answers: Paint { colours: AutoStream::choice(&io::stdout()) != ColorChoice::Never },
            notes: Paint { colours: AutoStream::choice(&io::stderr()) != ColorChoice::Never },
        }
    }

    /// Whether notes and progress are shown.
    pub fn shows_progress(self) -> bool {
        !self.json && !self.quiet
    }

    /// Whether answers are JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether every detail was asked for.
    pub fn is_verbose(self) -> bool {
        self.verbose
    }

    /// The paint of notes on standard error.
    pub fn note_paint(self) -> Paint {
        self.notes
    }

    /// Prints the answer of a command: `response` as one JSON document, or `page` for people.
    pub fn answer<T: Serialize>(
        self,
        response: &T,
        page: impl FnOnce(Paint) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let document = serde_json::to_string_pretty(response).map_err(|error| {
                Failure::new(
                    ProblemKind::Internal,
                    "output.json",
                    format!("cannot write the answer: {error}"),
                )
            })?;
            write_out(&document)
        } else {
            write_out(&self.answers.printable(&page(self.answers)))
        }
    }

    /// Prints a part of a long answer for people; programs get the whole by [`Output::answer`].
    pub fn say(self, part: impl FnOnce(Paint) -> String) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write_out(&self.answers.printable(&part(self.answers))) }
    }

    /// Prints a piece of an answer for people as it comes, without a line's end of its own.
    pub fn write_part(self, part: impl FnOnce(Paint) -> String) {
        if !self.json {
            let mut stdout = io::stdout().lock();
            // A reader that closes the pipe early is no failure.
            let part = part(self.answers);
            let _ = stdout.write_all(self.answers.printable(&part).as_bytes()).and_then(|()| stdout.flush());
        }
    }

    /// Something that must be known of a service on standard error, however quiet it is.
    pub fn announce(self, line: &str) {
        write_err(&self.notes.printable(line));
    }

    /// A remark on standard error.
    pub fn note(self, remark: &str) {
        if self.shows_progress() {
            write_err(&self.notes.printable(remark));
        }
    }

    /// Says why the command did not succeed; returns the exit code of the problem's kind.
    pub fn fail(self, problem: &Problem) -> ExitCode {
        let problem = problem.clone().worded(&quoted);
        if self.json {
            write_err(&serde_json::to_string_pretty(&problem).unwrap_or_else(|_| problem.to_string()));
        } else {
            write_err(&self.notes.printable(&self.problem(&problem)));
        }
        ExitCode::from(exit_code(problem.kind))
    }

    /// `problem` for people: what, where, what to do, and each single one on its line.
    fn problem(self, problem: &Problem) -> String {
        let code = if self.verbose { format!("[{}]", problem.code) } else { String::new() };
        let mut lines = vec![format!("{}: {}", self.notes.bad(format!("error{code}")), problem.message)];
        if let Some(place) = problem.location.as_ref().and_then(place) {
            lines.push(format!("  --> {place}"));
        }
        lines.extend(problem.hint.iter().map(|hint| format!("{}: {hint}", self.notes.good("hint"))));
        for single in &problem.problems {
            lines.extend(single.to_string().lines().map(|line| format!("  {line}")));
            lines.extend(single.hint.iter().map(|hint| format!("    {}: {hint}", self.notes.good("hint"))));
        }
        lines.join("\n")
    }
}

/// Colours, where they are shown.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    colours: bool,
}

impl Paint {
    /// Whether colours are shown.
    pub fn has_colours(self) -> bool {
        self.colours
    }
    /// A heading.
    pub fn heading(self, text: impl AsRef<str>) -> String {
        self.with(HEADING, text.as_ref())
    }
    /// Something less important.
    pub fn faint(self, text: impl AsRef<str>) -> String {
        self.with(FAINT, text.as_ref())
    }
    /// Something good or helpful.
    pub fn good(self, text: impl AsRef<str>) -> String {
        self.with(GOOD, text.as_ref())
    }
    /// Something doubtful.
    pub fn doubtful(self, text: impl AsRef<str>) -> String {
        self.with(DOUBTFUL, text.as_ref())
    }
    /// Wrong.
    pub fn bad(self, text: impl AsRef<str>) -> String {
        self.with(BAD, text.as_ref())
    }

    /// `text` as a terminal may get it; colours stay where they are shown.
    pub fn printable(self, text: &str) -> Cow<'_, str> {
        if !self.colours {
            return printable(text, &[]);
        }
        let own = STYLES.map(|style| style.render().to_string());
        let reset = STYLES[0].render_reset().to_string();
        let own: Vec<&str> = own.iter().chain([&reset]).map(String::as_str).collect();
        printable(text, &own)
    }

    fn with(self, style: Style, text: &str) -> String {
        // What is painted may end no colour and begin no other.
        let text = printable(text, &[]);
        if self.colours { format!("{style}{text}{style:#}") } else { text.into_owned() }
    }
}

const HEADING: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
/// The longest sequences first: one may begin as another does.
const STYLES: [Style; 5] = [BAD, HEADING, FAINT, GOOD, DOUBTFUL];

/// `file:line key`, as far as it is known.
fn place(location: &Location) -> Option<String> {
    let line = location.line.map(|line| format!(":{line}")).unwrap_or_default();
    let file = location.file.as_ref().map(|file| format!("{}{line}", file.display()));
    let parts: Vec<_> = file.into_iter().chain(location.key.clone()).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn write_out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.trim_end().as_bytes());
    match written.and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()) {
        // A reader that closes the pipe early is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("cannot write to standard output: {error}");
            Err(Failure::new(ProblemKind::Unavailable, "output.write", message))
        }
        _ => Ok(()),
    }
}

fn write_err(text: &str) {
    // If standard error is closed, there is nowhere left to report it.
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(verbose: bool) -> Output {
        let paint = Paint { colours: false };
        Output { json: false, quiet: false, verbose, answers: paint, notes: paint }
    }

    #[test]
    fn a_problem_says_what_where_and_what_to_do() {
        let location =
            Location { file: Some("config.toml".into()), line: Some(4), key: Some("lora.rank".into()) };
        let single =
            Problem::new(ProblemKind::InvalidInput, "config.out_of_range", "found 0, allowed 1 to 1024");
        let mut problem = Problem::new(ProblemKind::InvalidInput, "config.invalid", "2 settings are wrong");
        problem.problems = vec![single.clone().at(location.clone()), single.clone().with_hint("take 8")];
        insta::assert_snapshot!(plain(false).problem(&problem.with_hint("see `greentune config show`")), @r"
        error: 2 settings are wrong
        hint: see `greentune config show`
          config.toml:4: lora.rank: found 0, allowed 1 to 1024
          found 0, allowed 1 to 1024
            hint: take 8
        ");
        insta::assert_snapshot!(plain(true).problem(&single.at(location)), @r"
        error[config.out_of_range]: found 0, allowed 1 to 1024
          --> config.toml:4 lora.rank
        ");
    }

    #[test]
    fn colours_of_data_are_shown_as_their_numbers() {
        let painted = Paint { colours: true };
        assert_eq!(painted.good("a\u{1b}[0m\u{1b}[8mb"), "\u{1b}[32ma\\u{1b}[0m\\u{1b}[8mb\u{1b}[0m");
        let page = format!("{} \u{1b}[2J", painted.bad("no"));
        assert_eq!(painted.printable(&page), "\u{1b}[1m\u{1b}[31mno\u{1b}[0m \\u{1b}[2J");
        assert_eq!(Paint { colours: false }.printable("\u{1b}[32mgreen"), "\\u{1b}[32mgreen");
    }

    #[test]
    fn colours_wrap_the_text_only_where_they_are_shown() {
        assert_eq!(Paint { colours: false }.bad("no"), "no");
        assert_eq!(Paint { colours: true }.good("yes"), "\u{1b}[32myes\u{1b}[0m");
    }
}
