//! One photograph in memory that workers share: each filter passes over it in place, a few rows of pixels a task, and
//! no pixel is copied to a worker or back. Writes the photograph after each filter as a PNG file under `target/`.

use std::path::Path;

use image::RgbImage;
use pool::shared::SharedArray;
use pool::{Error, WorkerPool, worker_task};

#[worker_task]
fn negative(#[chunk] rows: &mut [u8]) {
    rows.iter_mut().for_each(|channel| *channel = !*channel);
}

#[worker_task]
fn contrast(#[chunk] rows: &mut [u8]) {
    let stretch = |channel: u8| ((f32::from(channel) - 128.0) * 1.5 + 128.0).clamp(0.0, 255.0);
    rows.iter_mut().for_each(|channel| *channel = stretch(*channel) as u8);
}

#[worker_task]
fn gray(#[chunk] rows: &mut [u8]) {
    for pixel in rows.chunks_exact_mut(3) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        pixel.fill(((299 * r + 587 * g + 114 * b) / 1000) as u8);
    }
}

/// A filter: over the shared pixels by the pool, and over a plain slice.
type Filter =
    (&'static str, fn(&WorkerPool, &mut SharedArray<u8>, usize) -> Result<Vec<()>, Error>, fn(&mut [u8]));

#[pool::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filters: [Filter; 3] = [
        ("contrast", contrast::par_chunks_mut, contrast),
        ("negative", negative::par_chunks_mut, negative),
        ("gray", gray::par_chunks_mut, gray),
    ];
    let photo = image::open(pool_examples::data("alpine-landscape.jpg"))?.into_rgb8();
    let (width, height) = photo.dimensions();
    let mut plain = photo.into_raw();
    let mut pixels = SharedArray::from_slice(&plain)?;
    let sixteen_rows = 16 * 3 * width as usize;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/image_filters");
    std::fs::create_dir_all(&folder)?;

    let pool = WorkerPool::builder().build()?;
    for (name, in_parallel, alone) in filters {
        in_parallel(&pool, &mut pixels, sixteen_rows)?;
        alone(&mut plain);
        let filtered = pixels.to_vec();
        assert!(filtered == plain);
        let image = RgbImage::from_raw(width, height, filtered).ok_or("there are three bytes a pixel")?;
        image.save(folder.join(format!("{name}.png")))?;
        println!("{name}.png");
    }
    println!("written to {}", folder.canonicalize()?.display());
    Ok(())
}
