#[derive(pool::Shares)]
enum Common {
    Small(u32),
    Large(String),
}

fn main() {}
