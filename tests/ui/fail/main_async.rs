#[pool::main]
async fn main() {}
