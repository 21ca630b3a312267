//! The settings of one client, and what is to become of them.

use std::path::PathBuf;

use greentune_core_config::ProblemKind;

use super::{
    client::Client,
    edit::{Edit, Former},
    entry::{Server, starts_greentune},
    install::{At, Scope},
    outcome::{Action, FileOutcome, Outcome},
    settings::Slot,
    skill,
};
use crate::{consent::consent, failure::Failure, session::Session};

/// The settings of one client.
pub struct Target<'a> {
    session: &'a Session,
    client: &'static Client,
    at: &'a At,
    /// The project's folder, where the settings are those of a project.
    root: Option<PathBuf>,
}

/// What becomes of one file.
pub struct Part {
    what: &'static str,
    action: Action,
    path: PathBuf,
    edit: Option<Edit>,
}

impl<'a> Target<'a> {
    /// Errors: the client has no settings of a project, and those are asked for.
    pub fn new(session: &'a Session, client: &'static Client, at: &'a At) -> Result<Self, Failure> {
        if at.scope == Scope::Project && client.project.is_none() {
            let message = format!("{} has no settings for one project", client.title);
            return Err(Failure::new(ProblemKind::InvalidInput, "mcp.scope", message)
                .with_hint("leave `--scope` out: the entry then holds for all of your work"));
        }
        let root = (at.scope == Scope::Project).then(|| session.project_or_here());
        Ok(Self { session, client, at, root })
    }

    /// Where the client's settings are.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        match (&self.root, self.client.project) {
            (Some(root), Some(file)) => Ok(root.join(file)),
            _ => self.client.user.path(self.session.environment()).ok_or_else(no_home),
        }
    }

    /// The client's settings with the entry of `server`, or without one.
    pub fn server(&self, server: Option<&Server>) -> Result<Part, Failure> {
        let former = Former::look(self.path()?, self.root.as_deref())?;
        let path = former.path.clone();
        let slot = Slot { client: self.client, name: &self.at.name };
        let failure = |unusable| slot.failure(&path, unusable);
        let there = slot.read(former.text()).map_err(failure)?;
        if there.as_ref().is_some_and(|there| !starts_greentune(there)) {
            return Err(self.name_taken(&path));
        }
        let entry = server.map(|server| match &there {
            Some(there) => server.keeping_those_of(there).entry(self.client.shape),
            None => server.entry(self.client.shape),
        });
        let (action, text) = match (entry, &there) {
            (Some(entry), Some(there)) if entry.iter().all(|(key, value)| there.get(key) == Some(value)) => {
                (Action::AlreadyThere, None)
            }
            (Some(entry), there) => {
                let action = if there.is_some() { Action::Changed } else { Action::Added };
                (action, Some(slot.write(former.text(), &entry).map_err(failure)?))
            }
            (None, Some(_)) => (Action::Removed, Some(slot.remove(former.text()).map_err(failure)?)),
            (None, None) => (Action::AlreadyGone, None),
        };
        let edit = text.map(|text| Edit { former, text: Some(text), is_backed_up: true });
        Ok(Part { what: "server", action, path, edit })
    }

    /// The skill in the client's folder, or without it when it `goes`.
    pub fn skill(&self, goes: bool) -> Result<Part, Failure> {
        let skills = self.client.skills.ok_or_else(|| {
            let message = format!("greentune knows no folder of skills of {}", self.client.title);
            Failure::new(ProblemKind::Unsupported, "mcp.no_skills", message)
                .with_hint("leave `--skill` out; a client that reads skills over MCP gets it from the server")
        })?;
        let folder = match &self.root {
            Some(root) => root.join(skills.project),
            None => skills.user.path(self.session.environment()).ok_or_else(no_home)?,
        };
        let edit = skill::edit(&folder, self.root.as_deref(), goes)?;
        let action = match &edit {
            None if goes => Action::AlreadyGone,
            None => Action::AlreadyThere,
            Some(_) if goes => Action::Removed,
            Some(edit) if edit.former.is_there() => Action::Changed,
            Some(_) => Action::Added,
        };
        Ok(Part { what: "skill", action, path: skill::path_in(&folder), edit })
    }

    /// What the person who sets the client up should know.
    pub fn notes(&self, server: &Part, has_folders: bool) -> Result<Vec<String>, Failure> {
        let mut notes = Vec::new();
        let title = self.client.title;
        let missing = server.path.parent().filter(|folder| self.root.is_none() && !folder.exists());
        notes.extend(missing.map(|folder| {
            format!("there is no {} yet: {title} may not be installed here", folder.display())
        }));
        if self.root.is_some() {
            notes.push(String::from(
                "the entry names the program on this machine; other users of the project need an entry of their own",
            ));
        }
        if !self.client.opens_folders && !has_folders {
            let home = self.session.environment().workbench_config()?.home;
            notes.push(format!(
                "{title} opens no folder, so that the tools may use {} alone; name your own with `--allow-dir DIR`",
                home.display()
            ));
        }
        Ok(notes)
    }

    /// Shows `parts`, asks, and does them.
    pub async fn carry_out(&self, parts: Vec<Part>, notes: Vec<String>) -> Result<(), Failure> {
        let At { scope, name, dry_run, yes, .. } = self.at;
        let output = self.session.output;
        let edits: Vec<_> = parts.iter().filter_map(|part| Some((part.what, part.edit.as_ref()?))).collect();
        for (what, edit) in &edits {
            let file = format!("{}: {}", self.client.title, edit.former.path.display());
            output.say(|paint| {
                let lines = if *what == "skill" && !output.is_verbose() {
                    paint.faint("the text of the skill; --verbose shows it")
                } else {
                    edit.shown(paint)
                };
                format!("{}\n{lines}", paint.heading(file))
            })?;
        }
        if !edits.is_empty() {
            for note in &notes {
                output.note(&format!("note: {note}"));
            }
            if !dry_run && !yes {
                consent(self.session, "Write this?", "--yes").await?;
            }
        }
        let is_done = !edits.is_empty() && !dry_run;
        let goes = parts.iter().any(|part| part.action == Action::Removed);
        let mut files = Vec::new();
        for Part { what, action, path, edit } in parts {
            let edit = edit.filter(|_| is_done);
            let backup = edit.map(|edit| edit.apply(self.root.as_deref())).transpose()?.flatten();
            files.push(FileOutcome { what, action, path, backup });
        }
        let next = is_done.then_some(if goes { "restart the client" } else { self.client.next });
        let outcome =
            Outcome { client: self.client.name, scope: *scope, name, dry_run: *dry_run, files, notes, next };
        output.answer(&outcome, |paint| outcome.page(paint))
    }

    fn name_taken(&self, path: &std::path::Path) -> Failure {
        let name = &self.at.name;
        let message =
            format!("{} has a server {name} that does not start greentune; it stays", path.display());
        Failure::new(ProblemKind::Conflict, "mcp.name_taken", message)
            .with_hint("give greentune's another name with `--name`, or take that one out yourself")
    }
}

fn no_home() -> Failure {
    let message = "no home folder is known, so neither is the place of the client's settings";
    Failure::new(ProblemKind::InvalidInput, "environment.no_home", message).with_hint("set HOME")
}
