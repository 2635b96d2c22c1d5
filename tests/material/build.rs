//! Links the material without symbols: a release is then a few hundred kilobytes, as a shipped one would be.

#[allow(clippy::print_stdout)] // This is how a build script speaks.
fn main() {
    println!("cargo:rustc-link-arg-bins=-s");
    println!("cargo:rerun-if-changed=build.rs");
}
