#[pool::main]
unsafe fn main() {}
