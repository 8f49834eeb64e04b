#[derive(pool::Shares)]
struct Nothing;

fn main() {}
