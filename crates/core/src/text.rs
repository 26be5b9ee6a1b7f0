//! Text files as people save them: whatever their encoding and line ends are, one text comes out, with the same line
//! numbers.

use std::borrow::Cow;

/// Bytes that are no text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} (byte {offset}) {what}: save the file as UTF-8 text")]
pub struct NotText {
    /// The line, counted from 1.
    pub line: u64,
    /// Bytes before what is no text.
    pub offset: usize,
    /// What stands there.
    pub what: String,
}

/// The text of a whole file: UTF-8 with or without a byte-order mark, or UTF-16 with one. Every line ends in `\n`,
/// whether the file has `\n`, `\r\n` or `\r`.
///
/// # Errors
/// [`NotText`], with the first place that is none.
pub fn read(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    let text = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Err(not_text("", 0, "begins as UTF-32".into()));
        }
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(utf8(rest, 3)?),
        _ => Cow::Borrowed(utf8(bytes, 0)?),
    };
    Ok(match text.contains('\r') {
        true => Cow::Owned(with_line_feeds(&text)),
        false => text,
    })
}

fn with_line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// `before` bytes came before these.
fn utf8(bytes: &[u8], before: usize) -> Result<&str, NotText> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (good, rest) = bytes.split_at(error.valid_up_to());
        let byte = rest.first().copied().unwrap_or_default();
        let what = format!("holds the byte 0x{byte:02x}, which is not UTF-8");
        not_text(&String::from_utf8_lossy(good), before + good.len(), what)
    })?;
    match text.find('\0') {
        None => Ok(text),
        Some(at) => Err(not_text(
            &text[..at],
            before + at,
            "holds a zero byte, as UTF-16 without its byte-order mark and files that are no text do".into(),
        )),
    }
}

fn utf16(bytes: &[u8], number: fn([u8; 2]) -> u16) -> Result<String, NotText> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len());
    let mut offset = 2;
    for unit in char::decode_utf16(pairs.iter().map(|pair| number(*pair))) {
        match unit {
            Ok(c) => {
                text.push(c);
                offset += 2 * c.len_utf16();
            }
            Err(_) => return Err(not_text(&text, offset, "is not UTF-16".into())),
        }
    }
    match rest {
        [] => Ok(text),
        _ => Err(not_text(
            &text,
            offset,
            "ends in the middle of a character".into(),
        )),
    }
}

fn not_text(before: &str, offset: usize, what: String) -> NotText {
    NotText {
        line: 1 + with_line_feeds(before).matches('\n').count() as u64,
        offset,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a program of Windows saves it.
    fn utf16_of(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let marked = format!("\u{feff}{text}");
        marked.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_and_line_end_gives_one_text() {
        let text = "a,b\n\"ä𝄞\",1\n";
        let windows = text.replace('\n', "\r\n");
        let files = [
            text.as_bytes().to_vec(),
            windows.as_bytes().to_vec(),
            text.replace('\n', "\r").into_bytes(),
            format!("\u{feff}{windows}").into_bytes(),
            utf16_of(text, u16::to_le_bytes),
            utf16_of(&windows, u16::to_be_bytes),
        ];
        for file in files {
            assert_eq!(read(&file).unwrap(), text, "{file:?}");
        }
        assert_eq!(read(b"").unwrap(), "");
        assert!(matches!(read(b"a\nb"), Ok(Cow::Borrowed("a\nb"))));
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        let mut cut = utf16_of("ab\r\ncd", u16::to_le_bytes);
        cut.pop();
        let lonely = [&utf16_of("a\nb", u16::to_be_bytes)[..], &[0xd8, 0x00]].concat();
        let bare = &utf16_of("ab\n", u16::to_le_bytes)[2..];
        for (bytes, line, offset) in [
            (&b"ab\r\ncd\re\xe4f"[..], 3, 8),
            (b"\xef\xbb\xbfa\n\xff", 2, 5),
            (&cut, 2, 12),
            (&lonely, 2, 8),
            (bare, 1, 1),
            (b"\xff\xfe\0\0a\0\0\0", 1, 0),
            (b"x\n\0\0\0", 2, 2),
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!((error.line, error.offset), (line, offset), "{error}");
            assert!(error.to_string().contains("save the file as UTF-8"));
        }
    }
}
