//! Leaves the symbols out of the released program: Cargo does not apply the profile's `strip` to a package that has a profile of its own.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}
