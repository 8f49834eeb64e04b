#[pool::main]
fn start() {}

fn main() {}
