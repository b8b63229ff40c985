//! Links without the C runtime and without any library but the core.

fn main() {
    for argument in ["-nostdlib", "-nostartfiles", "-static"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
