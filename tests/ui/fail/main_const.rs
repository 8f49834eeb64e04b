#[pool::main]
const fn main() {}
