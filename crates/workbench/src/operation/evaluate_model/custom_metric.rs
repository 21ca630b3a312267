//! A metric by a command of the user's: JSON lines in, scores out.

use std::{ffi::OsString, process::Stdio, time::Duration};

use greentune_core_config::evaluation::{
    EvaluationReport, IntervalMethod, MetricFigure, MetricInterval, RecordOutputs, metric,
};
use greentune_metrics::bootstrap;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

use crate::{Result, WorkbenchError, platform::local::last_lines};

/// Bytes of a command's output that are read.
const MOST_OUTPUT: u64 = 64 << 20;
/// Bytes of what it says on standard error that are read.
const MOST_COMPLAINTS: u64 = 1 << 20;

/// A command that scores generated texts. It is run once for each model, without a shell, with a worker's environment.
///
/// It reads a JSON object a line, `{"prompt": …, "reference": …, "output": …}`, and writes as many lines
/// `{"score": NUMBER}` in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomMetric {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// What it may take for one model.
    pub time_limit: Duration,
}

/// A line that the command reads.
#[derive(Serialize)]
struct Asked<'a> {
    prompt: &'a str,
    reference: &'a str,
    output: &'a str,
}

/// A line that it writes; what else it says there is its own.
#[derive(Deserialize)]
struct Answered {
    score: f64,
}

impl CustomMetric {
    /// Adds the mean score of each model to its report.
    pub(super) async fn score(
        &self,
        reports: &mut [EvaluationReport],
        outputs: &[RecordOutputs],
        environment: &[(String, String)],
    ) -> Result<()> {
        if outputs.is_empty() {
            return Err(self.failed("no response was generated that it could score"));
        }
        for report in reports {
            let model = report.model.to_string();
            let lines: String = outputs.iter().filter_map(|record| line(record, &model)).collect();
            let scores = self.ask(lines, environment).await?;
            report.figures.extend(figure(&scores));
        }
        Ok(())
    }

    /// The scores that the command gives `lines`.
    async fn ask(&self, lines: String, environment: &[(String, String)]) -> Result<Vec<f64>> {
        let asked = lines.lines().count();
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| self.failed("no program was given"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child =
            command.spawn().map_err(|error| self.failed(format!("it cannot be started: {error}")))?;
        let group = Group::of(&child);
        let talk = talk(&mut child, lines);
        let Ok(said) = tokio::time::timeout(self.time_limit, talk).await else {
            let seconds = self.time_limit.as_secs_f64();
            return Err(self.failed(format!("it took more than {seconds} s")));
        };
        drop(group);
        let (written, complaints, status) = said.map_err(|error| self.failed(error.to_string()))?;
        if !status.success() {
            return Err(self.failed(format!("it ended with {status}; it said: {}", last_lines(&complaints))));
        }
        self.scores(&written, asked)
    }

    /// The scores in what the command wrote for so many lines.
    fn scores(&self, written: &str, asked: usize) -> Result<Vec<f64>> {
        let score = |(index, line): (usize, &str)| match serde_json::from_str::<Answered>(line) {
            Ok(answered) => Ok(answered.score),
            Err(error) => Err(self.failed(format!(
                "line {} of its output is no object with a number `score`: {error}",
                index + 1
            ))),
        };
        let lines = written.lines().filter(|line| !line.trim().is_empty());
        let scores: Vec<f64> = lines.enumerate().map(score).collect::<Result<_>>()?;
        if scores.len() != asked {
            return Err(self.failed(format!("it wrote {} scores for {asked} lines", scores.len())));
        }
        Ok(scores)
    }

    /// The error for a command that gives no scores.
    pub(super) fn failed(&self, reason: impl Into<String>) -> WorkbenchError {
        let command = self.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        WorkbenchError::CustomMetric { command, reason: reason.into() }
    }
}

fn line(record: &RecordOutputs, model: &str) -> Option<String> {
    let output = record.outputs.get(model)?;
    let asked = Asked { prompt: &record.prompt, reference: &record.reference, output };
    Some(serde_json::to_string(&asked).unwrap_or_default() + "\n")
}

fn figure(scores: &[f64]) -> Option<MetricFigure> {
    let mean = |drawn: &[&f64]| drawn.iter().copied().sum::<f64>() / drawn.len() as f64;
    let value = Some(mean(&scores.iter().collect::<Vec<_>>())).filter(|mean| mean.is_finite())?;
    let interval = bootstrap(scores, mean).map(|ends| MetricInterval {
        low: ends.low,
        high: ends.high,
        method: IntervalMethod::Bootstrap,
    });
    Some(MetricFigure { metric: metric::CUSTOM.to_owned(), value, interval, records: scores.len() as u64 })
}

/// Writes `lines` while it reads what the child says, so that neither waits for the other.
async fn talk(
    child: &mut Child,
    lines: String,
) -> std::io::Result<(String, String, std::process::ExitStatus)> {
    let (input, output, complaints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut input) = input {
            // A command may answer before it has read everything; what it says then decides.
            let _ = input.write_all(lines.as_bytes()).await;
        }
    };
    let ((), written, complaints) =
        tokio::join!(write, read(output, MOST_OUTPUT), read(complaints, MOST_COMPLAINTS));
    Ok((written?, complaints?, child.wait().await?))
}

/// What a pipe says, up to `limit` bytes; a program that says more finds it closed.
async fn read(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The processes that a command started; they end when this is dropped.
struct Group(#[cfg(unix)] Option<rustix::process::Pid>);

impl Group {
    #[cfg(unix)]
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    #[cfg(not(unix))]
    fn of(_: &Child) -> Self {
        Self()
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> CustomMetric {
        let command = ["/bin/sh", "-c", script].map(OsString::from).into();
        CustomMetric { command, time_limit: Duration::from_secs(20) }
    }

    async fn ask(metric: &CustomMetric, lines: &str) -> Result<Vec<f64>, String> {
        let environment = [(String::from("PATH"), String::from("/usr/bin:/bin"))];
        metric.ask(lines.to_owned(), &environment).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_line_in_is_a_score_out_and_the_environment_is_a_workers() {
        let script = r#"while read -r line; do echo "{\"score\": ${#line}}"; done"#;
        assert_eq!(ask(&shell(script), "abc\nabcde\n").await.unwrap(), [3.0, 5.0]);
        let script =
            r#"cat > /dev/null; echo "{\"score\": $(env | grep -vc -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL=)}""#;
        assert_eq!(ask(&shell(script), "a\n").await.unwrap(), [0.0], "nothing but PATH is inherited");
    }

    #[tokio::test]
    async fn large_texts_do_not_stall() {
        let line = "x".repeat(1 << 20);
        let script = r#"while read -r line; do echo "{\"score\": 1, \"echo\": \"$line\"}"; done"#;
        let lines = format!("{line}\n").repeat(4);
        assert_eq!(ask(&shell(script), &lines).await.unwrap(), [1.0; 4]);
    }

    #[tokio::test]
    async fn what_goes_wrong_is_named() {
        for (script, said) in [
            ("cat > /dev/null; echo '{\"score\": 1}'", "it wrote 1 scores for 2 lines"),
            ("cat > /dev/null; echo 0.5", "line 1 of its output is no object with a number `score`"),
            ("echo no module >&2; exit 3", "exit status: 3; it said: no module"),
        ] {
            let error = ask(&shell(script), "a\nb\n").await.unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let missing = CustomMetric { command: vec!["/no/such/program".into()], time_limit: Duration::MAX };
        let error = ask(&missing, "a\n").await.unwrap_err();
        assert!(error.contains("/no/such/program") && error.contains("cannot be started"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_ends_with_all_that_it_started() {
        let begin = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let late = folder.path().join("late");
        let script = format!("(sleep 3; touch {}) & wait", late.display());
        let metric = CustomMetric { time_limit: Duration::from_millis(200), ..shell(&script) };
        let error = ask(&metric, "a\n").await.unwrap_err();
        assert!(error.contains("more than 0.2 s"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(3));
        tokio::time::sleep(Duration::from_millis(3500)).await;
        assert!(!late.exists());
    }
}
