//! The compiler's errors for a wrong task: one rule, one case, the file named after the rule. Each expected output
//! holds the error of that rule, in the user's words and at the user's tokens, and no echo of it.
//!
//! `TRYBUILD=overwrite cargo test -p pool-tests --test ui` rewrites the outputs.

#[test]
fn wrong_tasks_are_told_in_the_users_words() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}
