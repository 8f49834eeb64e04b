#[derive(pool::Shares)]
#[shares(skip)]
struct Common {
    limit: u32,
}

fn main() {}
