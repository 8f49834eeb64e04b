#[worker_task(fallible)]
fn load(path: &Path) -> anyhow::Result<Doc> {
    Doc::read(path)
}
