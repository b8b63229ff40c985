/// Links without the C runtime and without any library but the core, for a
/// build script. On other machines than this one nothing need be said: there
/// the linker is called itself, not through a C compiler.
fn link() {
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        for argument in ["-nostdlib", "-nostartfiles", "-static"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
}
