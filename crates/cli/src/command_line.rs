//! The command as it was typed, for reports.

use std::ffi::OsStr;

/// The command as it was typed, quoted where a shell needs it.
pub fn command_line() -> String {
    // Not `args`, which panics where a name is not UTF-8.
    let arguments = std::env::args_os().skip(1);
    std::iter::once("blocklens".to_owned())
        .chain(arguments.map(|argument| quoted(&argument)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// An argument as a shell reads it back. What is not UTF-8, and control characters, are written in the form `$'\xff'`
/// of bash, zsh and newer POSIX shells.
fn quoted(argument: &OsStr) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:@%+".contains(c);
    match argument.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => escaped(argument),
    }
}

fn escaped(argument: &OsStr) -> String {
    let mut text = String::from("$'");
    // On Windows, where names are no bytes, this is a form of them that only shows what they were.
    for chunk in argument.as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\\' | '\'' => text.extend(['\\', c]),
                c if c.is_control() => {
                    let mut bytes = [0; 4];
                    push_bytes(&mut text, c.encode_utf8(&mut bytes).as_bytes());
                }
                c => text.push(c),
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text.push('\'');
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_as_shells_read_them() {
        for (argument, text) in [
            ("--out", "--out"),
            ("latency@a,b.csv", "latency@a,b.csv"),
            ("", "''"),
            ("my phone's", r"'my phone'\''s'"),
            ("a\u{1b}[31m'", r"$'a\x1b[31m\''"),
            ("\u{9b}\n", r"$'\xc2\x9b\n'"),
        ] {
            assert_eq!(quoted(OsStr::new(argument)), text);
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_is_not_utf_8_is_written_byte_by_byte() {
        use std::os::unix::ffi::OsStrExt as _;
        assert_eq!(
            quoted(OsStr::from_bytes(b"out-\xff\xe9")),
            r"$'out-\xff\xe9'"
        );
    }
}
