#[worker_init]
fn load_model(#[shared] path: &PathBuf) -> io::Result<Model> {
    Model::load(path)
}
