fn main() -> Result<(), Error> {
    ::pool::init();
    /// Its runtime is started by an attribute.
    #[tokio::main(flavor = "current_thread")]
    async fn main() -> Result<(), Error> {
        serve().await
    }
    main()
}
