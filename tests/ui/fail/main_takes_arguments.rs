#[pool::main]
fn main(arguments: Vec<String>) {}
