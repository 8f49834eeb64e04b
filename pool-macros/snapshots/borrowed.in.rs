#[worker_task(name = "count", crate = parallel)]
pub(crate) fn words<'a>(text: &'a str, (from, to): (usize, usize), skip: Cow<'_, [&str]>) -> usize {
    text[from..to].split(' ').filter(|word| !skip.contains(word)).count()
}
