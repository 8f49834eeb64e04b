use pool::worker_task;

trait Shape {
    #[worker_task]
    fn square(x: u64) -> u64 {
        x * x
    }

    #[worker_task]
    fn area(x: u64) -> u64;
}

fn main() {}
