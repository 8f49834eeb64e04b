//! What the test programs of `pool` have in common.
