//! The exit codes of the command line.

use greentune_core_config::ProblemKind;

/// The exit code for a problem of `kind`: those of sysexits.h where one fits, and of a shell for what was interrupted.
pub const fn exit_code(kind: ProblemKind) -> u8 {
    match kind {
        ProblemKind::InvalidInput => 2,
        ProblemKind::NotFound | ProblemKind::Conflict => 1,
        ProblemKind::Credentials => 77,
        ProblemKind::Unavailable | ProblemKind::Unsupported => 69,
        ProblemKind::RateLimited => 75,
        ProblemKind::Cancelled => 130,
        // The list of kinds may grow; one without a code of its own is a defect of this function.
        _ => 70,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_documented_code() {
        let codes = [
            (ProblemKind::InvalidInput, 2),
            (ProblemKind::NotFound, 1),
            (ProblemKind::Conflict, 1),
            (ProblemKind::Credentials, 77),
            (ProblemKind::Unavailable, 69),
            (ProblemKind::Unsupported, 69),
            (ProblemKind::RateLimited, 75),
            (ProblemKind::Cancelled, 130),
            (ProblemKind::Internal, 70),
        ];
        for (kind, code) in codes {
            assert_eq!(exit_code(kind), code, "{kind:?}");
        }
    }
}
