//! What it means that a file cannot be read or written: one code and kind per cause, whichever crate met it.

use std::io;

use super::problem::{Problem, ProblemKind};

/// Why an operation on a file or folder failed, as far as a user can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// It is not there.
    Missing,
    /// This user may not.
    Permission,
    /// No space is left, or a quota is used up.
    DiskFull,
    /// The file system is mounted for reading alone.
    ReadOnly,
    /// Something else, such as a broken disk or a file where a folder should be.
    Other,
}

impl FileFault {
    /// The cause of `error`.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Other,
        }
    }

    /// The kind of its problem.
    pub const fn kind(self) -> ProblemKind {
        match self {
            Self::Missing => ProblemKind::NotFound,
            Self::Permission | Self::DiskFull | Self::ReadOnly | Self::Other => ProblemKind::Unavailable,
        }
    }

    /// The code of its problem.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "file.missing",
            Self::Permission => "file.permission",
            Self::DiskFull => "disk.full",
            Self::ReadOnly => "file.read_only",
            Self::Other => "file.io",
        }
    }

    /// What to do, where nothing more is known.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Missing => "check the path",
            Self::Permission => "check the permissions of the file and its folder",
            Self::DiskFull => "free some space and try again",
            Self::ReadOnly => "choose a folder on a file system that can be written",
            Self::Other => "check the path and the disk",
        }
    }
}

impl Problem {
    /// The problem of an operation on a file that failed with `error`; `message` says what was tried, and on what.
    pub fn of_file(error: &io::Error, message: impl Into<String>) -> Self {
        let fault = FileFault::of(error);
        Self::new(fault.kind(), fault.code(), message).with_hint(fault.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_one_code_and_one_kind() {
        use ProblemKind::{NotFound, Unavailable};
        for (cause, code, kind) in [
            (io::ErrorKind::NotFound, "file.missing", NotFound),
            (io::ErrorKind::PermissionDenied, "file.permission", Unavailable),
            (io::ErrorKind::StorageFull, "disk.full", Unavailable),
            (io::ErrorKind::QuotaExceeded, "disk.full", Unavailable),
            (io::ErrorKind::ReadOnlyFilesystem, "file.read_only", Unavailable),
            (io::ErrorKind::NotADirectory, "file.io", Unavailable),
            (io::ErrorKind::Other, "file.io", Unavailable),
        ] {
            let problem = Problem::of_file(&cause.into(), "cannot read x");
            assert_eq!((problem.code.as_str(), problem.kind), (code, kind));
            assert!(problem.hint.is_some() && problem.message == "cannot read x");
        }
    }
}
