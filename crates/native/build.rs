//! Records the compiler and the cargo profile for `build_info`.

use std::{env, path::Path, process::Command};

fn main() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=OTTLA_RUSTC={}", version.trim());
    println!("cargo:rustc-env=OTTLA_PROFILE={}", profile());
    println!("cargo:rerun-if-changed=build.rs");
}

/// The profile's own name: cargo's `PROFILE` says "release" for every profile that inherits from it, but the output
/// directory is `<target>/<profile>/build/<package>/out`.
fn profile() -> String {
    let out_dir = env::var("OUT_DIR").unwrap_or_default();
    Path::new(&out_dir)
        .ancestors()
        .nth(3)
        .and_then(|path| path.file_name())
        .map_or_else(
            || "unknown".into(),
            |name| name.to_string_lossy().into_owned(),
        )
}
