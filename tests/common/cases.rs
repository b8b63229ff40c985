//! Cases of property tests: how many, and of what bytes.
#![allow(dead_code, unreachable_pub)]

use proptest::prelude::*;

/// Fewer bytes than that, of any values.
pub fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// So many cases, unless `PROPTEST_CASES` decides; then a share of those, where
/// a case is large.
pub fn settings(usual: u32, share: u32) -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config.cases.div_ceil(share),
        None => usual,
    };
    ProptestConfig { cases, ..config }
}
