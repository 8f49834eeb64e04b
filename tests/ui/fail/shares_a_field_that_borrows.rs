#[derive(pool::Shares)]
struct Common<'a> {
    text: &'a str,
}

fn main() {}
