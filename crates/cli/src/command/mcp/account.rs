//! `greentune mcp account`: who may call over HTTP.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use greentune_core_config::quantities::counted;
use greentune_http_server::{Accounts, NewAccount};
use serde_json::json;

use crate::{failure::Failure, session::Session, table::list};

/// Commands of `mcp account`.
#[derive(Debug, Subcommand)]
pub enum Account {
    /// Make an account and print its token, which is told this once
    Add(Add),
    /// List the accounts
    List,
    /// Take an account away; its folder stays
    Remove(Remove),
}

/// Arguments of `mcp account add`.
#[derive(Args, Debug)]
pub struct Add {
    /// Its name: letters a-z, digits, - and _
    #[arg(value_name = "NAME")]
    name: String,
    /// A folder that its calls may use besides its own; can be given several times
    #[arg(long, value_name = "DIR")]
    allow_dir: Vec<PathBuf>,
}

/// Arguments of `mcp account remove`.
#[derive(Args, Debug)]
pub struct Remove {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

impl Account {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let accounts = Accounts::new(&session.environment().workbench_config()?.home);
        match self {
            Self::Add(add) => add.run(session, &accounts),
            Self::List => show(session, &accounts),
            Self::Remove(Remove { name }) => {
                let folder = accounts.remove(&name)?;
                session.output.answer(&json!({ "name": name, "folder": folder }), |_| {
                    format!("{name} may not call any more; its runs stay in {}", folder.display())
                })
            }
        }
    }
}

impl Add {
    fn run(self, session: &Session, accounts: &Accounts) -> Result<(), Failure> {
        let folders: Vec<_> = self.allow_dir.iter().map(|folder| session.here(folder)).collect();
        let NewAccount { account, token, folder, found_folder } = accounts.add(&self.name, &folders)?;
        let answer = json!({
            "name": account.name, "token": token, "folder": folder, "found_folder": found_folder,
            "allowed_dirs": account.allowed_dirs,
        });
        session.output.answer(&answer, |_| {
            let projects = folder.join("projects");
            let mut lines = vec![
                token,
                format!("This is the token of {}. It is told this once.", account.name),
                format!(
                    "Clients send it as Authorization: Bearer TOKEN. Projects go into {}.",
                    projects.display()
                ),
            ];
            if found_folder {
                lines.push(format!(
                    "{} was there: an earlier account's runs are this one's now.",
                    folder.display()
                ));
            }
            lines.join("\n")
        })
    }
}

fn show(session: &Session, accounts: &Accounts) -> Result<(), Failure> {
    let found = accounts.list()?;
    let rows: Vec<_> = found
        .iter()
        .map(|account| {
            json!({
                "name": account.name, "created_at": account.created_at, "allowed_dirs": account.allowed_dirs,
                "folder": accounts.home(&account.name),
            })
        })
        .collect();
    session.output.answer(&json!({ "accounts": rows }), |_| {
        let row = |account: &greentune_http_server::Account| {
            let folders: Vec<_> =
                account.allowed_dirs.iter().map(|folder| folder.display().to_string()).collect();
            vec![
                account.name.clone(),
                account.created_at.strftime("%Y-%m-%d").to_string(),
                folders.join(", "),
            ]
        };
        let rows: Vec<_> = found.iter().map(row).collect();
        match rows.len() {
            0 => String::from("no accounts; greentune mcp account add NAME makes one"),
            number => format!("{}\n{}", counted(number as u64, "account"), list(&rows)),
        }
    })
}
