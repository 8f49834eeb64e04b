/// Its runtime is started by an attribute.
#[pool::main]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve().await
}
