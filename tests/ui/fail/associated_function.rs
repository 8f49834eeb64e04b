use pool::worker_task;

struct Model;

impl Model {
    #[worker_task]
    fn square(x: u64) -> u64 {
        x * x
    }
}

fn main() {
    Model::square(3);
}
