//! Text that streams in, however it was saved.

use std::io::{self, Read};

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// What a stream of lines is read through: UTF-8 without byte-order mark comes out, and `\n` at every line's end,
/// whether UTF-8 or UTF-16 with a byte-order mark went in, and whether lines end in `\n`, `\r\n` or `\r`. Bytes that
/// are no UTF-8 stay: their line is told.
pub struct TextReader<R> {
    inner: R,
    encoding: Encoding,
    /// Read and not decoded yet.
    raw: Vec<u8>,
    /// Decoded, and how much of it was handed out.
    decoded: Vec<u8>,
    given: usize,
    after_return: bool,
    ended: bool,
}

#[derive(Clone, Copy)]
enum Encoding {
    /// Too little is read to know.
    Unknown,
    Utf8,
    Utf16(fn([u8; 2]) -> u16),
}

/// What a text may begin with, to say how it is encoded.
const MARKS: [(&[u8], Encoding); 3] = [
    (b"\xef\xbb\xbf", Encoding::Utf8),
    (b"\xff\xfe", Encoding::Utf16(u16::from_le_bytes)),
    (b"\xfe\xff", Encoding::Utf16(u16::from_be_bytes)),
];

impl<R: Read> TextReader<R> {
    /// The text of a stream.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            encoding: Encoding::Unknown,
            raw: Vec::new(),
            decoded: Vec::new(),
            given: 0,
            after_return: false,
            ended: false,
        }
    }

    /// Reads a piece, as much as is there, and decodes it.
    fn refill(&mut self) -> io::Result<()> {
        let before = self.raw.len();
        self.raw.resize(before + PIECE, 0);
        let read = self.inner.read(&mut self.raw[before..]);
        self.raw.truncate(before + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        self.decoded.clear();
        self.given = 0;
        self.recognise();
        match self.encoding {
            Encoding::Unknown => {}
            Encoding::Utf8 => {
                let raw = std::mem::take(&mut self.raw);
                self.push(&raw);
            }
            Encoding::Utf16(number) => self.decode(number),
        }
        Ok(())
    }

    /// Takes the mark off, once it is known whether there is one.
    fn recognise(&mut self) {
        if !matches!(self.encoding, Encoding::Unknown) {
            return;
        }
        if let Some((mark, encoding)) = MARKS.iter().find(|(mark, _)| self.raw.starts_with(mark)) {
            self.raw.drain(..mark.len());
            self.encoding = *encoding;
        } else if self.ended || !MARKS.iter().any(|(mark, _)| mark.starts_with(&self.raw)) {
            self.encoding = Encoding::Utf8;
        }
    }

    /// Decodes whole characters; the rest waits for more, and at the end is none.
    fn decode(&mut self, number: fn([u8; 2]) -> u16) {
        let (pairs, _) = self.raw.as_chunks::<2>();
        let mut numbers: Vec<u16> = pairs.iter().map(|pair| number(*pair)).collect();
        let half = numbers.last().is_some_and(|n| (0xd800..0xdc00).contains(n));
        if half && !self.ended {
            numbers.pop();
        }
        self.raw.drain(..2 * numbers.len());
        let mut text = String::from_utf16_lossy(&numbers);
        if self.ended && !self.raw.is_empty() {
            self.raw.clear();
            text.push(char::REPLACEMENT_CHARACTER);
        }
        self.push(text.as_bytes());
    }

    fn push(&mut self, text: &[u8]) {
        if !self.after_return && !text.contains(&b'\r') {
            self.decoded.extend_from_slice(text);
            return;
        }
        for byte in text {
            match (*byte, self.after_return) {
                (b'\n', true) => {}
                (b'\r', _) => self.decoded.push(b'\n'),
                (other, _) => self.decoded.push(other),
            }
            self.after_return = *byte == b'\r';
        }
    }
}

impl<R: Read> Read for TextReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.decoded.len() && !self.ended {
            self.refill()?;
        }
        let left = &self.decoded[self.given..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn decoded(bytes: &[u8], at_once: usize) -> Vec<u8> {
        let mut text = Vec::new();
        TextReader::new(Drip(bytes, at_once))
            .read_to_end(&mut text)
            .unwrap();
        text
    }

    #[test]
    fn however_a_text_was_saved_its_lines_come_out() {
        let text = "r224/ä\n\n𝄞 b\nlast";
        let windows = text.replace('\n', "\r\n");
        let marked = format!("\u{feff}{windows}");
        let utf16 = |bytes: fn(u16) -> [u8; 2]| marked.encode_utf16().flat_map(bytes).collect();
        let files: [Vec<u8>; 6] = [
            text.into(),
            windows.clone().into(),
            text.replace('\n', "\r").into(),
            marked.clone().into(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ];
        for file in &files {
            for at_once in [1, 2, 3, 5, 1 << 20] {
                let found = decoded(file, at_once);
                assert_eq!(
                    String::from_utf8(found).unwrap(),
                    text,
                    "{at_once}: {file:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_text_stays_or_is_marked() {
        assert_eq!(decoded(b"", 1), b"");
        assert_eq!(decoded(b"\xef\xbb", 1), b"\xef\xbb");
        assert_eq!(decoded(b"a\xffb\n", 2), b"a\xffb\n");
        assert_eq!(decoded(b"\xff\xfea\0b", 1), "a\u{fffd}".as_bytes());
    }
}
