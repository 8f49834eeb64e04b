#[pool::main]
fn main() -> Result<(), pool::Error> {
    run()
}
