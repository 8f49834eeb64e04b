//! One photograph, many filters: the photograph is shared, so that each worker has it once; a task is only the
//! filter. Writes the filtered photographs as PNG files under `target/`.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{blur, contrast, flip_horizontal, huerotate};
use image::{DynamicImage, ImageFormat, RgbImage};
use pool::{WorkerPool, worker_task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Photo {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Filter {
    Blur { sigma: f32 },
    Contrast { percent: f32 },
    Hue { degrees: i32 },
    Mirror,
}

/// The filtered photograph, as a PNG file's bytes.
#[worker_task]
fn render(#[shared] photo: &Photo, filter: Filter) -> Vec<u8> {
    let image =
        RgbImage::from_raw(photo.width, photo.height, photo.rgb.clone()).expect("three bytes a pixel");
    let filtered = match filter {
        Filter::Blur { sigma } => blur(&image, sigma),
        Filter::Contrast { percent } => contrast(&image, percent),
        Filter::Hue { degrees } => huerotate(&image, degrees),
        Filter::Mirror => flip_horizontal(&image),
    };
    let mut png = Cursor::new(Vec::new());
    DynamicImage::from(filtered).write_to(&mut png, ImageFormat::Png).expect("memory takes every byte");
    png.into_inner()
}

#[pool::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = image::open(pool_examples::data("alpine-landscape.jpg"))?.into_rgb8();
    let photo = || Photo { width: image.width(), height: image.height(), rgb: image.as_raw().clone() };
    let mut filters = vec![Filter::Mirror, Filter::Contrast { percent: 40.0 }];
    filters.extend([1.0, 2.0, 4.0].map(|sigma| Filter::Blur { sigma }));
    filters.extend([90, 180, 270].map(|degrees| Filter::Hue { degrees }));

    let pool = WorkerPool::builder().shared(photo()).build()?;
    let pngs = render::par_map(&pool, filters.iter().copied())?;
    assert!(pngs.iter().eq(&filters.iter().map(|&filter| render(&photo(), filter)).collect::<Vec<_>>()));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/image_filters");
    std::fs::create_dir_all(&folder)?;
    for (index, (filter, png)) in filters.iter().zip(&pngs).enumerate() {
        std::fs::write(folder.join(format!("{index:02}.png")), png)?;
        println!("{index:02}.png: {filter:?}, {} bytes", png.len());
    }
    println!("written to {}", folder.canonicalize()?.display());
    Ok(())
}
