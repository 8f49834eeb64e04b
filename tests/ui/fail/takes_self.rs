use pool::worker_task;

struct Model;

impl Model {
    #[worker_task]
    fn predict(&self, text: &str) -> usize {
        text.len()
    }
}

fn main() {
    Model.predict("text");
}
