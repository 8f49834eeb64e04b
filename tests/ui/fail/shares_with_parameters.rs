#[derive(pool::Shares)]
struct Common<T> {
    value: T,
}

fn main() {}
