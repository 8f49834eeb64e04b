//! Rows of an image that workers share, each computed by one task straight into its place. Some rows take much longer
//! than others; the pool sees to it that workers end together. Writes a PNG file under `target/`.

use std::path::Path;

use image::GrayImage;
use pool::shared::SharedArray;
use pool::{WorkerPool, worker_task};

const WIDTH: usize = 960;
const HEIGHT: usize = 640;
const MOST_STEPS: u32 = 1000;

/// Computes rows of pixels. Each pixel holds the number of its row before.
#[worker_task]
fn rows(#[chunk] pixels: &mut [u32]) {
    for row in pixels.chunks_exact_mut(WIDTH) {
        let y = row[0] as usize;
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = steps(-2.25 + 3.0 * x as f64 / WIDTH as f64, -1.0 + 2.0 * y as f64 / HEIGHT as f64);
        }
    }
}

/// How many steps z := z² + c takes to leave the circle of radius 2.
fn steps(re: f64, im: f64) -> u32 {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..MOST_STEPS {
        if x * x + y * y > 4.0 {
            return step;
        }
        (x, y) = (x * x - y * y + re, 2.0 * x * y + im);
    }
    MOST_STEPS
}

#[pool::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut image = SharedArray::from_fn(WIDTH * HEIGHT, |index| (index / WIDTH) as u32)?;
    rows::par_chunks_mut(&WorkerPool::builder().build()?, &mut image, WIDTH)?;

    let middle = HEIGHT / 2;
    let expected = (0..WIDTH).map(|x| steps(-2.25 + 3.0 * x as f64 / WIDTH as f64, 0.0));
    assert!(expected.eq((0..WIDTH).map(|x| image.get(middle * WIDTH + x))));
    let shade = |steps: u32| {
        if steps == MOST_STEPS { 0 } else { (255.0 * f64::from(steps).sqrt() / 10.0).min(255.0) as u8 }
    };
    let picture = GrayImage::from_raw(WIDTH as u32, HEIGHT as u32, image.iter().map(shade).collect());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mandelbrot.png");
    picture.ok_or("there is a byte for each pixel")?.save(&path)?;
    println!("written to {}", path.canonicalize()?.display());
    Ok(())
}
