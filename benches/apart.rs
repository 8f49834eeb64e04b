//! Measurements in processes of their own: of memory, of which earlier jobs leave some with the allocator.

use std::process::Command;

use crate::jobs::APART;

/// Tells this program what to measure: a name of [`APART`].
const ARGUMENT: &str = "--apart";

/// What a fresh process of this program measures.
pub(crate) fn measured(name: &str) -> f64 {
    let output = Command::new("/proc/self/exe").args([ARGUMENT, name]).output();
    let output = output.expect("this program can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figure = String::from_utf8_lossy(&output.stdout);
    figure.trim().parse().expect("it prints a number and nothing else")
}

/// Measures, prints the figure and exits, if this process was started for that.
pub(crate) fn measure_if_asked() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, argument, wanted] = &*arguments
        && argument == ARGUMENT
    {
        let (_, measure) = APART.iter().find(|(name, _)| name == wanted).expect("a name of the table");
        println!("{}", measure());
        std::process::exit(0);
    }
}
