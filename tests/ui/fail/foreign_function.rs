use pool::worker_task;

unsafe extern "C" {
    #[worker_task]
    fn labs(x: i64) -> i64;

    #[worker_task]
    safe fn abs(x: i32) -> i32;
}

fn main() {}
