//! Three programs by which Ray and MPIRE have compared pools, here on the input that lies beside the examples:
//! numerical computation over a shared image, stateful prefix counts over documents, and a model that takes a while to
//! load.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pool::{StartMethod, worker_exit, worker_init, worker_task};
use rayon::prelude::*;

use super::work::ms;
use super::{METHODS, WORKERS, builder};
use crate::rounds::{Contender, Session};

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    // One round only checks the results.
    let sizes: &[usize] = if session.rounds == 1 { &[1, 10] } else { &[1, 10, 100] };
    for &times in sizes {
        let rounds = session.rounds;
        // Long programs vary less.
        session.rounds = rounds.min(if times == 1 { rounds } else { 3 });
        numbers(session, times)?;
        prefixes(session, times)?;
        model(session, times);
        session.rounds = rounds;
    }
    Ok(())
}

/// The program's name, and how many times its work it does.
fn named(name: &str, times: usize) -> String {
    if times == 1 { name.into() } else { format!("{name}, {times} times the work") }
}

/// The program by each contender, from start to end.
fn compare<R: PartialEq>(
    session: &mut Session,
    name: &str,
    serial: impl Fn() -> R,
    by_rayon: impl Fn() -> R,
    by_pool: impl Fn(StartMethod) -> R,
) {
    let (expected, by_pool) = (&serial(), &by_pool);
    let mut contenders = vec![
        Contender::new("serial loop", || ms(expected, &serial)),
        Contender::new("rayon", || ms(expected, &by_rayon)),
    ];
    for method in METHODS {
        contenders.push(Contender::new(format!("pool, {method}"), move || ms(expected, || by_pool(method))));
    }
    session.compare(name, "ms", contenders);
}

fn threads() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("threads can be started")
}

pub(super) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data").join(name)
}

/// A filter of 4 by 4.
type Filter = [[f32; 4]; 4];

const FILTERS: usize = 80;

/// Filters that the compiler cannot know.
fn filters(times: usize) -> Vec<Filter> {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as u16) / 65536.0 - 0.5
    };
    (0..FILTERS * times).map(|_| [(); 4].map(|()| [(); 4].map(|()| random()))).collect()
}

/// A gray image; `at` returns the pixel at a place.
fn convolved(width: usize, height: usize, at: impl Fn(usize) -> f32, filter: &Filter) -> Vec<f32> {
    // Every fifth row and column, as in the original.
    let rows = (0..height - 3).step_by(5);
    rows.flat_map(|y| (0..width - 3).step_by(5).map(move |x| (x, y)))
        .map(|(x, y)| {
            let row = |dy: usize| (0..4).map(move |dx| (dy, dx));
            (0..4).flat_map(row).map(|(dy, dx)| at((y + dy) * width + x + dx) * filter[3 - dy][3 - dx]).sum()
        })
        .collect()
}

#[worker_task]
fn convolve(#[shared] pixels: &Vec<f32>, width: usize, filter: Filter) -> Vec<f32> {
    convolved(width, pixels.len() / width, |at| pixels[at], &filter)
}

fn numbers(session: &mut Session, times: usize) -> Result<(), Box<dyn Error>> {
    let photo = image::open(data("alpine-landscape.jpg"))?.to_luma32f();
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    let (pixels, filters) = (&photo.into_raw(), &filters(times));
    let alone = |filter: &Filter| convolved(width, height, |at| pixels[at], filter);
    compare(
        session,
        &named("numerical computation: 80 filters over a photograph, pool included", times),
        || filters.iter().map(alone).collect(),
        || threads().install(|| filters.par_iter().map(alone).collect()),
        |method| {
            let pool = builder(method).shared(pixels.clone()).build().expect("a pool can be made");
            convolve::par_map(&pool, filters.iter().map(|filter| (width, *filter))).expect("no task fails")
        },
    );
    Ok(())
}

type Counts = BTreeMap<String, u64>;

/// Counts the prefixes of a document's words. The counts stay with the worker.
#[worker_task(exit = hand_over)]
fn count(#[state] counts: &mut Counts, document: &str) {
    for word in document.split_whitespace() {
        let ends = word.char_indices().skip(1).map(|(end, _)| end).chain([word.len()]);
        for prefix in ends.take(3).map(|end| &word[..end]) {
            match counts.get_mut(prefix) {
                Some(count) => *count += 1,
                None => drop(counts.insert(prefix.into(), 1)),
            }
        }
    }
}

#[worker_exit]
fn hand_over(#[state] counts: Counts) -> Counts {
    counts
}

fn sum(parts: impl IntoIterator<Item = Counts>) -> Counts {
    let mut sum = Counts::new();
    for (prefix, count) in parts.into_iter().flatten() {
        *sum.entry(prefix).or_default() += count;
    }
    sum
}

fn prefixes(session: &mut Session, times: usize) -> Result<(), Box<dyn Error>> {
    let folder = fs::read_dir(data("moby-dick"))?;
    let documents: Vec<String> =
        folder.map(|entry| fs::read_to_string(entry?.path())).collect::<Result<_, _>>()?;
    let documents: Vec<&str> = std::iter::repeat_n(&documents, times).flatten().map(String::as_str).collect();
    let documents = &documents;
    let serial = || {
        let mut counts = Counts::new();
        documents.iter().for_each(|document| count(&mut counts, document));
        counts
    };
    let by_rayon = || {
        let counted = |mut counts: Counts, document: &&str| {
            count(&mut counts, document);
            counts
        };
        sum(threads().install(|| documents.par_iter().fold(Counts::new, counted).collect::<Vec<_>>()))
    };
    let by_pool = |method| {
        let pool = builder(method).build().expect("a pool can be made");
        count::par_map(&pool, documents.iter().copied()).expect("no task fails");
        let counts = pool.join().expect("workers end").exit_results::<hand_over>();
        sum(counts.expect("the counts come back"))
    };
    let name = named("stateful computation: prefixes of Moby Dick's words, pool included", times);
    compare(session, &name, serial, by_rayon, by_pool);
    Ok(())
}

struct Digit {
    pixels: [u8; 64],
    label: u8,
}

/// The digits from here on are the ones to recognize; those before it are the model.
const TRAINING: usize = 1_200;
/// How many times they are recognized.
const OFTEN: usize = 4;

static TABLE: LazyLock<String> =
    LazyLock::new(|| fs::read_to_string(data("digits.csv")).expect("it lies there"));

fn read_digits() -> Vec<Digit> {
    let digit = |line: &str| {
        let mut numbers = line.split(',').map(|number| number.parse().expect("a small number"));
        let mut next = || numbers.next().expect("65 numbers");
        Digit { pixels: [(); 64].map(|()| next()), label: next() }
    };
    TABLE.lines().map(digit).collect()
}

/// Takes a while, as models do.
#[worker_init]
fn load() -> Vec<Digit> {
    let mut digits = read_digits();
    digits.truncate(TRAINING);
    digits
}

#[worker_task(init = load)]
fn classify(#[state] known: &mut Vec<Digit>, pixels: &[u8]) -> u8 {
    nearest(known, pixels)
}

fn nearest(known: &[Digit], pixels: &[u8]) -> u8 {
    let distance = |known: &&Digit| -> u32 {
        known.pixels.iter().zip(pixels).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    known.iter().min_by_key(distance).expect("there are some").label
}

fn model(session: &mut Session, times: usize) {
    let digits = read_digits();
    let digits: Vec<&[u8]> = digits[TRAINING..].iter().map(|digit| &digit.pixels[..]).collect();
    let digits = &digits.repeat(OFTEN * times);
    let serial = || {
        let known = load();
        digits.iter().map(|pixels| nearest(&known, pixels)).collect::<Vec<_>>()
    };
    let by_rayon = || {
        let known = load();
        threads().install(|| digits.par_iter().map(|pixels| nearest(&known, pixels)).collect())
    };
    let by_pool = |method| {
        let pool = builder(method).build().expect("a pool can be made");
        classify::par_map(&pool, digits.iter().copied()).expect("no task fails")
    };
    let name =
        named("expensive initialization: handwritten digits by their neighbours, pool included", times);
    compare(session, &name, serial, by_rayon, by_pool);
}
