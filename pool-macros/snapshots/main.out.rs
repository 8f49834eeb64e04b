fn main() -> Result<(), pool::Error> {
    ::pool::init();
    run()
}
