//! The price of isolation: this crate's start methods side by side with the alternatives.
//!
//! `cargo bench -p pool-benches -- [JOB ...] [--rounds N] [--json FILE]`

use std::error::Error;
use std::process::ExitCode;

mod apart;
mod jobs;
mod peers;
mod probe;
mod rounds;

use rounds::Session;

#[pool::main]
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(jobs::NOTHING) {
        let ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        return if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    procspawn::init();
    peers::serve_if_asked();
    apart::measure_if_asked();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut session = Session::default();
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match &*argument {
            "--rounds" => session.rounds = value()?.parse()?,
            "--json" => session.json = Some(value()?.into()),
            // Cargo adds this.
            "--bench" => {}
            name if jobs::JOBS.iter().any(|(known, _)| *known == name) => wanted.push(name.to_owned()),
            other => {
                let known: Vec<&str> = jobs::JOBS.iter().map(|(name, _)| *name).collect();
                return Err(format!("there is no job `{other}`; there are: {}", known.join(", ")).into());
            }
        }
    }
    for (name, job) in jobs::JOBS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            job(&mut session)?;
        }
    }
    session.finish()
}
