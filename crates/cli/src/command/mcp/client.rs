//! The MCP clients that greentune can set up: where each keeps its servers, and how an entry is written there.
//!
//! A table, from the clients' own documentation and `mcp add` commands (November 2026); docs/mcp.md says which were tried.

use std::path::PathBuf;

use crate::environment::{Base, Environment};

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its own name.
    pub title: &'static str,
    /// Where its settings for all of the user's work are.
    pub user: Place,
    /// Where those of one project are, below its folder; some clients have none.
    pub project: Option<&'static str>,
    pub format: Format,
    /// The keys that lead to its servers.
    pub keys: &'static [&'static str],
    pub shape: Shape,
    pub skills: Option<Skills>,
    /// Whether it is opened in a folder, in which it starts servers or which it names as a root.
    pub opens_folders: bool,
    /// What makes it see a new server.
    pub next: &'static str,
}

/// A file or folder of the user.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    base: Base,
    path: &'static str,
    /// A variable that names the folder of `moved` instead, where it is set.
    variable: Option<&'static str>,
    moved: &'static str,
}

/// How settings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Without comments: the client itself reads no others.
    Json,
    /// JSON with comments and trailing commas.
    CommentedJson,
    Toml,
}

/// How a server is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `command` and `args`.
    Plain,
    /// The same with `"type": "stdio"`.
    Stdio,
    /// The same with `"type": "local"`, and all of its tools.
    Local,
    /// Command and arguments in one list.
    OneList,
}

/// The folders of a client's skills.
#[derive(Clone, Copy, Debug)]
pub struct Skills {
    pub user: Place,
    pub project: &'static str,
}

impl Place {
    const fn new(base: Base, path: &'static str) -> Self {
        Self { base, path, variable: None, moved: "" }
    }

    const fn at(path: &'static str) -> Self {
        Self::new(Base::Home, path)
    }

    const fn moved_by(self, variable: &'static str, moved: &'static str) -> Self {
        Self { variable: Some(variable), moved, ..self }
    }

    /// The path on this machine; none when the home folder is not known.
    pub fn path(&self, environment: &Environment) -> Option<PathBuf> {
        let moved = self.variable.and_then(|variable| environment.folder_in(variable));
        match moved {
            Some(folder) => Some(folder.join(self.moved)),
            None => Some(environment.base(self.base)?.join(self.path)),
        }
    }
}

/// The client called `name`.
pub fn find(name: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.name == name)
}

const SERVERS: &[&str] = &["mcpServers"];
const AGENTS: Skills = Skills { user: Place::at(".agents/skills"), project: ".agents/skills" };
const COPILOT: Skills = Skills {
    user: Place::at(".copilot/skills").moved_by("COPILOT_HOME", "skills"),
    project: ".github/skills",
};
const NEW_SESSION: &str = "start a new session; `/mcp` lists the servers";

/// Any other, whose settings greentune does not know where to find.
pub const OTHER: Client = Client {
    name: "other",
    title: "another client",
    user: Place::at(""),
    project: None,
    format: Format::Json,
    keys: SERVERS,
    shape: Shape::Plain,
    skills: None,
    opens_folders: true,
    next: "restart it",
};

/// All of them.
pub const CLIENTS: &[Client] = &[
    Client {
        name: "claude-code",
        title: "Claude Code",
        user: Place::at(".claude.json").moved_by("CLAUDE_CONFIG_DIR", ".claude.json"),
        project: Some(".mcp.json"),
        format: Format::Json,
        keys: SERVERS,
        shape: Shape::Stdio,
        skills: Some(Skills {
            user: Place::at(".claude/skills").moved_by("CLAUDE_CONFIG_DIR", "skills"),
            project: ".claude/skills",
        }),
        opens_folders: true,
        next: NEW_SESSION,
    },
    Client {
        name: "claude-desktop",
        title: "Claude Desktop",
        user: Place::new(Base::Applications, "Claude/claude_desktop_config.json"),
        project: None,
        format: Format::Json,
        keys: SERVERS,
        shape: Shape::Plain,
        skills: None,
        opens_folders: false,
        next: "quit Claude Desktop and start it again; closing its window is not enough",
    },
    Client {
        name: "cursor",
        title: "Cursor",
        user: Place::at(".cursor/mcp.json"),
        project: Some(".cursor/mcp.json"),
        format: Format::CommentedJson,
        keys: SERVERS,
        shape: Shape::Plain,
        skills: Some(Skills { user: Place::at(".cursor/skills"), project: ".cursor/skills" }),
        opens_folders: true,
        next: "restart Cursor, or switch greentune on in its MCP settings",
    },
    Client {
        name: "vscode",
        title: "Visual Studio Code",
        user: Place::new(Base::Applications, "Code/User/mcp.json"),
        project: Some(".vscode/mcp.json"),
        format: Format::CommentedJson,
        keys: &["servers"],
        shape: Shape::Stdio,
        skills: Some(COPILOT),
        opens_folders: true,
        next: "run `MCP: List Servers` in the command palette, and start greentune there",
    },
    Client {
        name: "windsurf",
        title: "Windsurf",
        user: Place::at(".codeium/windsurf/mcp_config.json"),
        project: None,
        format: Format::CommentedJson,
        keys: SERVERS,
        shape: Shape::Plain,
        skills: Some(Skills { user: Place::at(".codeium/windsurf/skills"), project: ".windsurf/skills" }),
        opens_folders: true,
        next: "restart Windsurf, or refresh the servers in its MCP settings",
    },
    Client {
        name: "devin",
        title: "Devin",
        user: Place::new(Base::DotConfigOrRoaming, "devin/mcp_config.json"),
        project: Some(".devin/mcp_config.json"),
        format: Format::CommentedJson,
        keys: SERVERS,
        shape: Shape::Plain,
        skills: None,
        opens_folders: true,
        next: "start a new session; the MCP section of the agent panel lists the servers",
    },
    Client {
        name: "zed",
        title: "Zed",
        user: Place::new(Base::DotConfigOrRoaming, "zed/settings.json"),
        project: Some(".zed/settings.json"),
        format: Format::CommentedJson,
        keys: &["context_servers"],
        shape: Shape::Plain,
        skills: Some(AGENTS),
        opens_folders: true,
        next: "Zed reads it at once; the settings of its agent list the servers",
    },
    Client {
        name: "codex",
        title: "Codex",
        user: Place::at(".codex/config.toml").moved_by("CODEX_HOME", "config.toml"),
        project: Some(".codex/config.toml"),
        format: Format::Toml,
        keys: &["mcp_servers"],
        shape: Shape::Plain,
        skills: Some(AGENTS),
        opens_folders: true,
        next: NEW_SESSION,
    },
    Client {
        name: "gemini-cli",
        title: "Gemini CLI",
        user: Place::at(".gemini/settings.json").moved_by("GEMINI_CLI_HOME", ".gemini/settings.json"),
        project: Some(".gemini/settings.json"),
        format: Format::CommentedJson,
        keys: SERVERS,
        shape: Shape::Plain,
        skills: Some(Skills {
            user: Place::at(".gemini/skills").moved_by("GEMINI_CLI_HOME", ".gemini/skills"),
            project: ".gemini/skills",
        }),
        opens_folders: true,
        next: NEW_SESSION,
    },
    Client {
        name: "copilot-cli",
        title: "GitHub Copilot CLI",
        user: Place::at(".copilot/mcp-config.json").moved_by("COPILOT_HOME", "mcp-config.json"),
        project: Some(".github/mcp.json"),
        format: Format::Json,
        keys: SERVERS,
        shape: Shape::Local,
        skills: Some(COPILOT),
        opens_folders: true,
        next: "start a new session; `/mcp show` lists the servers",
    },
    Client {
        name: "opencode",
        title: "opencode",
        user: Place::new(Base::DotConfig, "opencode/opencode.json"),
        project: Some("opencode.json"),
        format: Format::CommentedJson,
        keys: &["mcp"],
        shape: Shape::OneList,
        skills: Some(Skills {
            user: Place::new(Base::DotConfig, "opencode/skills"),
            project: ".opencode/skills",
        }),
        opens_folders: true,
        next: "start a new session; `opencode mcp list` lists the servers",
    },
    Client {
        name: "kiro",
        title: "Kiro",
        user: Place::at(".kiro/settings/mcp.json"),
        project: Some(".kiro/settings/mcp.json"),
        format: Format::CommentedJson,
        keys: SERVERS,
        shape: Shape::Plain,
        skills: Some(Skills { user: Place::at(".kiro/skills"), project: ".kiro/skills" }),
        opens_folders: true,
        next: "Kiro reads it at once; its MCP panel lists the servers",
    },
    Client {
        name: "lm-studio",
        title: "LM Studio",
        user: Place::at(".lmstudio/mcp.json"),
        project: None,
        format: Format::Json,
        keys: SERVERS,
        shape: Shape::Plain,
        skills: None,
        opens_folders: false,
        next: "LM Studio reads it at once; switch mcp/greentune on in the chat",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_occur_once() {
        for (at, client) in CLIENTS.iter().enumerate() {
            assert!(client.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", client.name);
            assert!(CLIENTS[..at].iter().all(|other| other.name != client.name), "{}", client.name);
            assert_ne!(client.name, OTHER.name);
            assert!(!client.keys.is_empty() && !client.next.ends_with('.'), "{}", client.name);
        }
    }

    #[test]
    fn no_two_clients_write_the_same_file_differently() {
        let of_project = |client: &Client| client.project.unwrap_or(client.name);
        for (at, client) in CLIENTS.iter().enumerate() {
            let other = CLIENTS[..at].iter().find(|other| of_project(other) == of_project(client));
            assert!(other.is_none_or(|other| other.shape == client.shape), "{}", client.name);
        }
    }
}
