//! Who may call the tools over HTTP: accounts, in a file that this user alone may read. Of a token its SHA-256 is kept.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use greentune_core_config::{Diagnostic, Problem, ProblemKind};
use greentune_durable::{read_at_most, write_private};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Beginning of every token, by which scanners for secrets know it.
const TOKEN_PREFIX: &str = "gt_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Letters that a name may have.
const NAME_LENGTH: usize = 32;
/// Format of the file.
const FORMAT: u32 = 1;
/// The file is not read further.
const LARGEST_FILE: u64 = 4 << 20;

/// Somebody who may call the tools over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name, which is that of its folder too.
    pub name: String,
    /// SHA-256 of its token, in hexadecimal digits.
    token_sha256: String,
    /// Folders that its calls may use besides its own.
    pub allowed_dirs: Vec<PathBuf>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Account {
    /// Whether `digest` is that of its token; the time it takes says nothing of how near it is.
    pub(crate) fn has_token(&self, digest: &str) -> bool {
        self.token_sha256.as_bytes().ct_eq(digest.as_bytes()).into()
    }
}

/// SHA-256 of `token`, in hexadecimal digits.
pub(crate) fn digest(token: &str) -> String {
    hexadecimal(&Sha256::digest(token))
}

/// A new account with its token, which is told this once.
#[derive(Debug)]
pub struct NewAccount {
    /// The account.
    pub account: Account,
    /// The token.
    pub token: String,
    /// Folder of its runs and projects.
    pub folder: PathBuf,
    /// Whether that folder was there: an earlier account of this name left it.
    pub found_folder: bool,
}

/// The file with the accounts.
#[derive(Deserialize, Serialize)]
struct AccountsFile {
    format: u32,
    accounts: Vec<Account>,
}

/// The accounts in greentune's home.
#[derive(Clone, Debug)]
pub struct Accounts {
    folder: PathBuf,
}

impl Accounts {
    /// The accounts in greentune's home folder `home`; touches no file.
    pub fn new(home: &Path) -> Self {
        Self { folder: home.join("accounts") }
    }

    /// The file that they are in.
    pub fn file(&self) -> PathBuf {
        // No account is called so: names have no dots.
        self.folder.join("accounts.json")
    }

    /// Home folder of the account `name`: its index of runs, its projects, its models.
    pub fn home(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// All accounts, in the order of their names; none when there is no file.
    ///
    /// Errors: the file cannot be read, is no such file, is of a newer version, or others may read or change it.
    pub fn list(&self) -> Result<Vec<Account>, AccountError> {
        let path = self.file();
        let failed = |source| AccountError::File { action: "read", path: path.clone(), source };
        let bytes = match read_at_most(&path, LARGEST_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        check_private(&path)?;
        let AccountsFile { format, accounts } = serde_json::from_slice(&bytes)
            .map_err(|error| AccountError::Damaged { path: path.clone(), reason: error.to_string() })?;
        if format != FORMAT {
            return Err(AccountError::Format { path, format });
        }
        Ok(accounts)
    }

    /// Makes the account `name`, whose calls may use `allowed_dirs` besides its own folder.
    ///
    /// Errors: the name is none or is taken; a folder is missing or holds greentune's home; the file cannot be read or
    /// written.
    pub fn add(&self, name: &str, allowed_dirs: &[PathBuf]) -> Result<NewAccount, AccountError> {
        check_name(name)?;
        let allowed_dirs =
            allowed_dirs.iter().map(|folder| self.checked(folder)).collect::<Result<_, _>>()?;
        let _lock = self.lock()?;
        let mut accounts = self.list()?;
        if accounts.iter().any(|account| account.name == name) {
            return Err(AccountError::Exists { name: name.to_owned() });
        }
        let token = new_token()?;
        let (token_sha256, created_at) = (digest(&token), Timestamp::now());
        let account = Account { name: name.to_owned(), token_sha256, allowed_dirs, created_at };
        let folder = self.home(name);
        let found_folder = folder.exists();
        make_private(&folder.join("projects"))?;
        accounts.push(account.clone());
        accounts.sort_by(|a, b| a.name.cmp(&b.name));
        self.write(accounts)?;
        Ok(NewAccount { account, token, folder, found_folder })
    }

    /// Takes the account `name` away: its token is of no use any more. Its folder stays.
    ///
    /// Errors: there is none; the file cannot be read or written.
    pub fn remove(&self, name: &str) -> Result<PathBuf, AccountError> {
        let _lock = self.lock()?;
        let mut accounts = self.list()?;
        let known: Vec<_> = accounts.iter().map(|account| account.name.clone()).collect();
        accounts.retain(|account| account.name != name);
        if accounts.len() == known.len() {
            return Err(AccountError::Unknown { name: name.to_owned(), known });
        }
        self.write(accounts)?;
        Ok(self.home(name))
    }

    fn write(&self, accounts: Vec<Account>) -> Result<(), AccountError> {
        let path = self.file();
        let file = AccountsFile { format: FORMAT, accounts };
        serde_json::to_vec_pretty(&file)
            .map_err(io::Error::from)
            .and_then(|bytes| write_private(&path, &bytes))
            .map_err(|source| AccountError::File { action: "write", path, source })
    }

    /// Held while accounts are changed, so that no change is lost.
    fn lock(&self) -> Result<File, AccountError> {
        make_private(&self.folder)?;
        let path = self.folder.join(".lock");
        let locked = File::options().create(true).truncate(false).write(true).open(&path);
        let locked = locked.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| AccountError::File { action: "lock", path, source })
    }

    /// `folder` without links, when an account may use it: other accounts lie in greentune's home.
    fn checked(&self, folder: &Path) -> Result<PathBuf, AccountError> {
        let failed = |source| AccountError::File { action: "use", path: folder.to_owned(), source };
        let resolved = fs::canonicalize(folder).map_err(failed)?;
        if !resolved.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let home = self.folder.parent().unwrap_or(&self.folder);
        let home = fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
        if home.starts_with(&resolved) || resolved.starts_with(&home) {
            return Err(AccountError::HoldsHome { folder: folder.to_owned(), home });
        }
        Ok(resolved)
    }
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_name = name.starts_with(is_plain)
        && name.len() <= NAME_LENGTH
        && name.chars().all(|letter| is_plain(letter) || "-_".contains(letter));
    if is_name { Ok(()) } else { Err(AccountError::Name { name: name.chars().take(80).collect() }) }
}

fn new_token() -> Result<String, AccountError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::NoRandomness(error.to_string()))?;
    Ok(format!("{TOKEN_PREFIX}{}", hexadecimal(&bytes)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes `folder` and those above it, for this user alone on Unix.
fn make_private(folder: &Path) -> Result<(), AccountError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    let failed = |source| AccountError::File { action: "make", path: folder.to_owned(), source };
    builder.create(folder).map_err(failed)
}

/// Refuses a file that others may read or change.
#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), AccountError> {
    use std::os::unix::fs::PermissionsExt as _;
    const OTHERS: u32 = 0o077;
    let failed = |source| AccountError::File { action: "read", path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & OTHERS == 0 {
        Ok(())
    } else {
        Err(AccountError::Open { path: path.to_owned(), mode: mode & 0o777 })
    }
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), AccountError> {
    Ok(())
}

/// Why accounts cannot be listed or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The name has other letters than allowed, or too many.
    #[error(
        "{name:?} is no name of an account: 1 to {NAME_LENGTH} letters a-z, digits, - and _, a letter or a digit first"
    )]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// There is an account of that name.
    #[error("the account {name} is there already")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no account of that name.
    #[error("no account {name:?}; {}", known_accounts(known))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A folder that an account may use would show it the other accounts.
    #[error("{} may not be allowed: the other accounts lie in greentune's home {}", folder.display(), home.display())]
    HoldsHome {
        /// The folder.
        folder: PathBuf,
        /// greentune's home.
        home: PathBuf,
    },
    /// Others than this user may read or change the file.
    #[error("others may use the file of accounts {} (its mode is {mode:o})", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What lies there is no file of accounts.
    #[error("the file of accounts {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file is of another version of greentune.
    #[error("the file of accounts {} has format {format}; this version knows {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for a token: {0}")]
    NoRandomness(String),
}

fn known_accounts(known: &[String]) -> String {
    match known {
        [] => String::from("there are none"),
        known => format!("the accounts are {}", known.join(", ")),
    }
}

impl Diagnostic for AccountError {
    fn problem(&self) -> Problem {
        let of = |kind, code, hint: &str| Problem::new(kind, code, self.to_string()).with_hint(hint);
        match self {
            Self::Name { .. } => of(ProblemKind::InvalidInput, "account.name", "choose such a name"),
            Self::Exists { name } => {
                let hint =
                    format!("choose another name, or take it away: greentune mcp account remove {name}");
                of(ProblemKind::Conflict, "account.exists", &hint)
            }
            Self::Unknown { .. } => {
                of(ProblemKind::NotFound, "account.unknown", "greentune mcp account list shows them")
            }
            Self::HoldsHome { .. } => of(
                ProblemKind::InvalidInput,
                "account.folder",
                "name a folder that neither holds greentune's home nor lies in it",
            ),
            Self::Open { path, .. } => {
                let hint = format!("chmod 600 {}, and give out new tokens if it was changed", path.display());
                of(ProblemKind::InvalidInput, "account.permissions", &hint)
            }
            Self::Damaged { .. } => of(
                ProblemKind::InvalidInput,
                "account.damaged",
                "move the file away and add the accounts again",
            ),
            Self::Format { .. } => {
                of(ProblemKind::Unsupported, "account.format", "use the version of greentune that wrote it")
            }
            Self::File { source, .. } => Problem::of_file(source, self.to_string()),
            Self::NoRandomness(_) => of(ProblemKind::Internal, "account.no_randomness", "try again"),
        }
    }
}

#[cfg(test)]
mod tests;
