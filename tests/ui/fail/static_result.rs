use pool::worker_task;

#[worker_task]
fn name(x: u64) -> &'static str {
    if x == 0 { "none" } else { "some" }
}

#[worker_task]
fn maybe(x: u64) -> Option<&'static str> {
    (x > 0).then_some("some")
}

fn main() {}
