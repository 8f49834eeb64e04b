//! Recognizes handwritten digits. The init function loads the training set once in every worker; a task then
//! needs only the pixels of one digit, and borrows them where they arrived.

use std::fs;

use pool::{WorkerPool, worker_init, worker_task};

/// The digits from here on are the ones to recognize; those before it train.
const TRAINING: usize = 1_200;

struct Digit {
    pixels: Vec<u8>,
    label: u8,
}

fn read_digits() -> Vec<Digit> {
    let table =
        fs::read_to_string(pool_examples::data("digits.csv")).expect("digits.csv lies beside the examples");
    let digit = |line: &str| {
        let mut numbers =
            line.split(',').map(|number| number.parse().expect("digits.csv holds small numbers"));
        Digit { pixels: numbers.by_ref().take(64).collect(), label: numbers.next().expect("a label") }
    };
    table.lines().map(digit).collect()
}

/// The data that a worker keeps from task to task.
struct TrainingSet(Vec<Digit>);

#[worker_init]
fn load_training_set() -> TrainingSet {
    let mut digits = read_digits();
    digits.truncate(TRAINING);
    TrainingSet(digits)
}

/// The label of the nearest neighbour among the digits of the training set.
#[worker_task(init = load_training_set)]
fn classify(#[state] training: &mut TrainingSet, pixels: &[u8]) -> u8 {
    let distance = |known: &&Digit| -> u32 {
        known.pixels.iter().zip(pixels).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    training.0.iter().min_by_key(distance).expect("the training set is not empty").label
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let digits = &read_digits()[TRAINING..];
    let pool = WorkerPool::builder().build()?;
    let labels = classify::par_map(&pool, digits.iter().map(|digit| digit.pixels.as_slice()))?;

    let training = &mut load_training_set();
    assert!(labels.iter().copied().eq(digits.iter().map(|digit| classify(training, &digit.pixels))));
    let right = labels.iter().zip(digits).filter(|&(&label, digit)| label == digit.label).count();
    let accuracy = right as f64 / digits.len() as f64;
    println!("{right} of {} digits recognized: {:.1} %", digits.len(), accuracy * 100.0);
    assert!(accuracy > 0.95);
    Ok(())
}
