//! Decides whether the crate is built for any system, as `portable`, or for Linux.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(portable)");
    println!("cargo::rustc-check-cfg=cfg(pool_portable)");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    // `--cfg pool_portable` is for tests: it builds on Linux what other systems get.
    let is_wanted = std::env::var_os("CARGO_CFG_POOL_PORTABLE").is_some();
    if !is_linux || is_wanted {
        println!("cargo::rustc-cfg=portable");
    }
}
