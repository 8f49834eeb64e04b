//! The program's own file.

/// False: this matters only where the program is started again.
pub(crate) fn would_have_more_rights() -> bool {
    false
}
