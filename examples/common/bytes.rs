//! Bytes on the command line, and bytes in a stream.

/// Bytes from text with the escapes `\n \r \t \0 \\ \xNN`.
///
/// # Errors
/// Another escape, or no bytes at all.
pub fn unescape(text: &str) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let (byte, tail) = match rest {
            [b'n', tail @ ..] => (b'\n', tail),
            [b'r', tail @ ..] => (b'\r', tail),
            [b't', tail @ ..] => (b'\t', tail),
            [b'0', tail @ ..] => (0, tail),
            [b'\\', tail @ ..] => (b'\\', tail),
            [b'x', high, low, tail @ ..] => {
                let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
                    return Err("\\x needs two hex digits".into());
                };
                (high * 16 + low, tail)
            }
            [b'x', ..] => return Err("\\x needs two hex digits".into()),
            _ => return Err("escapes are \\n \\r \\t \\0 \\\\ \\xNN".into()),
        };
        bytes.push(byte);
        rest = tail;
    }
    if bytes.is_empty() {
        return Err("no bytes".into());
    }
    Ok(Bytes(bytes))
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Bytes that a user gave; never empty. (To clap, a `Vec` is a flag that may
/// be repeated.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// Finds a pattern in a byte stream that comes in chunks of any size.
///
/// Keeps a number between chunks, not their bytes (Knuth, Morris and Pratt).
#[derive(Clone, Debug)]
pub struct Scanner {
    pattern: Vec<u8>,
    /// For each prefix of the pattern: how long a shorter prefix it ends in.
    fallback: Vec<usize>,
    /// How much of the pattern the stream now ends in.
    matched: usize,
}

impl Scanner {
    pub fn new(pattern: Bytes) -> Self {
        let Bytes(pattern) = pattern;
        let mut fallback = vec![0; pattern.len()];
        let mut length = 0;
        for end in 1..pattern.len() {
            while length > 0 && pattern[length] != pattern[end] {
                length = fallback[length - 1];
            }
            if pattern[length] == pattern[end] {
                length += 1;
            }
            fallback[end] = length;
        }
        Self {
            pattern,
            fallback,
            matched: 0,
        }
    }

    /// How many times the pattern ends in this chunk.
    pub fn count(&mut self, chunk: &[u8]) -> usize {
        let mut found = 0;
        for byte in chunk {
            while self.matched > 0 && self.pattern[self.matched] != *byte {
                self.matched = self.fallback[self.matched - 1];
            }
            if self.pattern[self.matched] == *byte {
                self.matched += 1;
            }
            if self.matched == self.pattern.len() {
                found += 1;
                self.matched = 0; // one byte belongs to one answer
            }
        }
        found
    }

    /// Another stream begins.
    pub fn reset(&mut self) {
        self.matched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let bytes = unescape(r"ping\r\n\t\0\\\x7f\xFFé").unwrap();
        assert_eq!(bytes.0, b"ping\r\n\t\0\\\x7f\xff\xc3\xa9");
        for wrong in ["", "\\", r"\q", r"\x", r"\x4", r"\xg0", r"\x+1"] {
            assert!(unescape(wrong).is_err(), "{wrong:?}");
        }
    }

    /// Counted in chunks of every size.
    fn counts(pattern: &str, stream: &str) -> usize {
        let scanner = Scanner::new(unescape(pattern).unwrap());
        let whole = scanner.clone().count(stream.as_bytes());
        for size in 1..stream.len() {
            let mut scanner = scanner.clone();
            let chunks = stream.as_bytes().chunks(size);
            let found: usize = chunks.map(|chunk| scanner.count(chunk)).sum();
            assert_eq!(found, whole, "in chunks of {size}");
        }
        whole
    }

    #[test]
    fn patterns_split_and_coalesced() {
        assert_eq!(counts(r"pong\n", "pong\npong\n.pongpong\npon\n"), 3);
        assert_eq!(counts("aab", "aaab.aabaab"), 3);
        assert_eq!(counts("abab", "ababab.abab"), 2);
        assert_eq!(counts("x", "axxb"), 2);
        assert_eq!(counts("long", "lo"), 0);
    }

    #[test]
    fn nothing_is_found_across_streams() {
        let mut scanner = Scanner::new(unescape("pong").unwrap());
        assert_eq!(scanner.count(b"po"), 0);
        scanner.reset();
        assert_eq!(scanner.count(b"ng"), 0);
    }
}
