//! An HTTP server whose handlers call into one pool. What a request makes crash or hang is that request's answer, 500
//! or 504, and nobody else's. With `--self-test` it sends itself some requests at once and looks at the answers.
//!
//! ```console
//! $ cargo run --release --example http
//! $ curl http://127.0.0.1:3000/words/42
//! $ curl --data-binary @examples/data/alpine-landscape.jpg http://127.0.0.1:3000/thumbnail/100 >thumbnail.png
//! $ curl --data crash http://127.0.0.1:3000/thumbnail/100
//! ```

use std::collections::HashSet;
use std::error::Error;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io, process};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use image::ImageFormat;
use pool::{TaskErrorKind, WorkerPool, worker_task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How many words a chapter of Moby Dick has, and how many different ones.
#[worker_task]
fn count_words(chapter: u32) -> Result<(usize, usize), String> {
    let path = pool_examples::data("moby-dick").join(format!("chapter_{chapter:03}.txt"));
    let text = fs::read_to_string(path).map_err(|error| format!("chapter {chapter}: {error}"))?;
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    Ok((words.len(), words.iter().collect::<HashSet<_>>().len()))
}

/// Makes a PNG file of a photograph that somebody sent, of this width.
#[worker_task]
fn shrink(photo: &[u8], width: u32) -> Result<Vec<u8>, String> {
    if !(1..=2000).contains(&width) {
        return Err(format!("a width of {width}"));
    }
    match photo {
        // A decoder written in C may do this to a program that runs it in its own process.
        b"crash" => process::abort(),
        b"hang" => loop {
            std::thread::park();
        },
        _ => {}
    }
    let photo = image::load_from_memory(photo).map_err(|error| error.to_string())?;
    let mut file = Cursor::new(Vec::new());
    let written = photo.thumbnail(width, u32::MAX).write_to(&mut file, ImageFormat::Png);
    written.map(|()| file.into_inner()).map_err(|error| error.to_string())
}

/// The answer to a request without a result.
struct Refusal(StatusCode, String);

/// The task has crashed, or taken too long.
impl From<pool::Error> for Refusal {
    fn from(error: pool::Error) -> Self {
        let status = match error.task().map(|task| task.kind()) {
            Some(TaskErrorKind::TimedOut(_)) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, format!("{error}\n"))
    }
}

/// The task has looked at the request and has no use for it.
impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self(StatusCode::BAD_REQUEST, format!("{why}\n"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

const LIMIT: Duration = Duration::from_secs(5);

async fn words(pool: State<Arc<WorkerPool>>, Path(chapter): Path<u32>) -> Result<String, Refusal> {
    let counting = count_words::job(&pool).task_timeout(LIMIT).apply_async(chapter);
    let (words, different) = counting.await??;
    Ok(format!("{words} words, {different} different ones\n"))
}

async fn thumbnail(
    pool: State<Arc<WorkerPool>>,
    Path(width): Path<u32>,
    photo: Bytes,
) -> Result<Vec<u8>, Refusal> {
    let shrinking = shrink::job(&pool).task_timeout(LIMIT).apply_async((&photo, width));
    Ok(shrinking.await??)
}

#[pool::main]
fn main() -> Result<(), Box<dyn Error>> {
    let pool = Arc::new(WorkerPool::builder().build()?);
    // The first call starts the workers; there are no other threads yet.
    count_words::apply(&pool, 1)??;
    let routes =
        Router::new().route("/words/{chapter}", get(words)).route("/thumbnail/{width}", post(thumbnail));
    let routes = routes.with_state(Arc::clone(&pool));

    tokio::runtime::Runtime::new()?.block_on(async {
        if env::args().nth(1).as_deref() == Some("--self-test") {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            tokio::spawn(axum::serve(listener, routes).into_future());
            return self_test(&address).await;
        }
        let listener = TcpListener::bind("127.0.0.1:3000").await?;
        println!("http://{}/words/42", listener.local_addr()?);
        Ok(axum::serve(listener, routes).await?)
    })
}

/// Sends some requests at once.
async fn self_test(address: &str) -> Result<(), Box<dyn Error>> {
    let photo = fs::read(pool_examples::data("alpine-landscape.jpg"))?;
    let mut requests = vec![
        ("POST /thumbnail/100", &b"crash"[..], 500),
        ("POST /thumbnail/100", b"hang", 504),
        ("POST /thumbnail/100", b"no photograph", 400),
        ("POST /thumbnail/0", &photo, 400),
        ("GET /words/999", b"", 400),
        ("GET /words/one", b"", 400),
    ];
    for _ in 0..10 {
        requests.extend([("GET /words/42", &b""[..], 200), ("POST /thumbnail/100", &photo, 200)]);
    }
    let answers = requests.iter().map(|(request, body, _)| {
        let (address, request, body) = (address.to_owned(), *request, body.to_vec());
        tokio::spawn(async move { ask(&address, request, &body).await })
    });
    let answers: Vec<_> = answers.collect();
    for ((request, _, expected), answer) in requests.iter().zip(answers) {
        let answer = answer.await??;
        let status = answer.lines().next().unwrap_or_default();
        println!("{request}: {status}");
        assert!(status.starts_with(&format!("HTTP/1.1 {expected} ")), "not {expected}: {answer}");
        assert_eq!(
            answer.contains("SIGABRT"),
            *expected == 500,
            "one request is told of the crash: {answer}"
        );
    }
    Ok(())
}

/// The answer to a request, whatever is no text in it replaced.
async fn ask(address: &str, request: &str, body: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
