//! `cargo run --release -p cellwright-data --example fetch -- NAME [ROOT]`: fetches and loads a data set, with times.

use std::{error::Error, path::Path, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().ok_or("usage: fetch NAME [ROOT]")?;
    let root = args.next().unwrap_or_else(|| "data".into());
    let root = Path::new(&root);
    let start = Instant::now();
    let fetched = cellwright_data::fetch(&name, root, &mut |line| eprint!("\r\x1b[K{line}"))?;
    eprintln!();
    let from = fetched.from.as_deref().unwrap_or("nowhere: it was there");
    println!(
        "{} from {from}, {:.2} s",
        fetched.location,
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let set = cellwright_data::load(&name, root)?;
    println!(
        "loaded and checked in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    println!(
        "{} + {} images, {}x{}x{}, mean {:?}, std {:?}",
        set.train.len(),
        set.test.len(),
        set.train.channels,
        set.train.height,
        set.train.width,
        set.mean,
        set.std
    );
    Ok(())
}
