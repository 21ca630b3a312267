//! `greentune mcp install` and `greentune mcp uninstall`: greentune's server in a client's settings.

use std::path::{Path, PathBuf};

use clap::{Args, Parser as _, ValueEnum, builder::PossibleValuesParser};
use greentune_core_config::ProblemKind;
use serde::Serialize;
use serde_json::json;

use super::{
    client::{self, CLIENTS, Client, Format, OTHER},
    entry::Server,
    settings::Slot,
    target::Target,
};
use crate::{any_case::AnyCase, arguments::CommandLine, failure::Failure, session::Session};

/// Arguments of `mcp install`.
#[derive(Args, Debug)]
pub struct Install {
    /// The client; `other` with `--print`
    #[arg(long, value_name = "CLIENT", value_parser = clients(true))]
    client: String,
    #[command(flatten)]
    at: At,
    /// A folder that the tools may use besides the project that the client opens; can be given several times
    #[arg(long, value_name = "DIR")]
    allow_dir: Vec<PathBuf>,
    /// Which tools the client gets: a preset of `greentune mcp --tools`
    #[arg(long, value_name = "PRESET")]
    tools: Option<String>,
    /// Print what to put into the client's settings, and change nothing
    #[arg(long, conflicts_with_all = ["skill", "dry_run", "yes"])]
    print: bool,
}

/// Arguments of `mcp uninstall`.
#[derive(Args, Debug)]
pub struct Uninstall {
    /// The client
    #[arg(long, value_name = "CLIENT", value_parser = clients(false))]
    client: String,
    #[command(flatten)]
    at: At,
}

/// Where, under which name, and whether to ask.
#[derive(Args, Debug)]
pub struct At {
    /// For all of your work, or for the project around the current folder alone
    #[arg(long, value_enum, default_value_t)]
    pub scope: Scope,
    /// What the server is called there
    #[arg(long, default_value = "greentune", value_parser = server_name)]
    pub name: String,
    /// The skill too, which tells an assistant the order of work: a file in the client's folder of skills
    #[arg(long)]
    pub skill: bool,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Whose settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    #[default]
    User,
    Project,
}

impl Install {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let server = self.server(session)?;
        let client = client::find(&self.client);
        if self.print {
            return print(session, client, &self.at, &server);
        }
        let target = Target::new(session, client.ok_or_else(only_printed)?, &self.at)?;
        let mut parts = vec![target.server(Some(&server))?];
        if self.at.skill {
            parts.push(target.skill(false)?);
        }
        let notes = target.notes(&parts[0], !self.allow_dir.is_empty())?;
        target.carry_out(parts, notes).await
    }

    fn server(&self, session: &Session) -> Result<Server, Failure> {
        let folders: Vec<_> = self.allow_dir.iter().map(|folder| session.here(folder)).collect();
        if let Some(missing) = folders.iter().find(|folder| !folder.is_dir()) {
            let message = format!("no folder at {}", missing.display());
            return Err(Failure::new(ProblemKind::NotFound, "mcp.no_folder", message)
                .with_hint("make it first, or name another with `--allow-dir`"));
        }
        let program = session.environment().program_for_others();
        let server = Server::new(&program, &folders, self.tools.as_deref())?;
        // What the client will start must be understood then.
        let line = ["greentune"].into_iter().chain(server.arguments().iter().map(String::as_str));
        CommandLine::try_parse_from(line).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Failure::new(ProblemKind::InvalidInput, "mcp.arguments", format!("`greentune mcp`: {first}"))
                .with_hint("`greentune mcp --help` lists what it takes")
        })?;
        Ok(server)
    }
}

impl Uninstall {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = client::find(&self.client).ok_or_else(only_printed)?;
        let target = Target::new(session, client, &self.at)?;
        let mut parts = vec![target.server(None)?];
        if self.at.skill {
            parts.push(target.skill(true)?);
        }
        target.carry_out(parts, Vec::new()).await
    }
}

/// Prints the entry of `server` as it stands in settings that hold nothing else.
fn print(
    session: &Session,
    client: Option<&'static Client>,
    at: &At,
    server: &Server,
) -> Result<(), Failure> {
    let place = client.map(|client| Target::new(session, client, at)?.path()).transpose()?;
    let client = client.unwrap_or(&OTHER);
    let slot = Slot { client, name: &at.name };
    let written = slot.write("", &server.entry(client.shape));
    let text = written.map_err(|unusable| slot.failure(Path::new("the snippet"), unusable))?;
    session.output.note(&match &place {
        Some(path) => format!("for {}, in {}:", client.title, path.display()),
        None => String::from("for most clients; some call the servers or the fields otherwise:"),
    });
    let format = if client.format == Format::Toml { "toml" } else { "json" };
    session
        .output
        .answer(&json!({ "client": client.name, "path": place, "format": format, "snippet": text }), |_| {
            text.clone()
        })
}

fn clients(with_other: bool) -> AnyCase<PossibleValuesParser> {
    let names = CLIENTS.iter().map(|client| client.name).chain(with_other.then_some(OTHER.name));
    AnyCase(PossibleValuesParser::new(names.collect::<Vec<_>>()))
}

/// What every client takes as a name, Codex as the strictest.
fn server_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(String::from("a name is letters, digits, `-` and `_`, at most 64"))
}

fn only_printed() -> Failure {
    let message = "greentune does not know where another client keeps its settings";
    Failure::new(ProblemKind::InvalidInput, "mcp.unknown_client", message)
        .with_hint("`greentune mcp install --print --client other` prints what to put there")
}
