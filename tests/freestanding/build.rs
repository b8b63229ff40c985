//! Links without the C library: see there.

include!("link.rs");

fn main() {
    link();
}
