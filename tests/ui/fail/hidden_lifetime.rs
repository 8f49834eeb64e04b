use std::borrow::Cow;

use pool::{WorkerPool, worker_task};

#[worker_task]
fn length(text: Cow<str>) -> usize {
    text.len()
}

#[worker_task]
fn total(texts: Vec<(u64, Cow<str>)>, start: usize) -> usize {
    texts.iter().map(|(_, text)| text.len()).sum::<usize>() + start
}

#[worker_task]
fn trimmed(text: &str) -> Cow<str> {
    text.trim().into()
}

#[worker_task]
fn prefixed(#[shared] prefix: &Cow<str>, #[state] last: &mut Option<Cow<str>>, text: &str) -> bool {
    last.is_some() && text.starts_with(&**prefix)
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<usize> = length::par_map(&pool, [Cow::from("text")]).unwrap();
}
