//! What the program says on standard error: the one place where it leaves, so that nothing that others wrote (names,
//! notes, messages of programs) steers the terminal.

use std::fmt::Arguments;
use std::io::Write as _;

use blocklens_core::shown::visible;

/// In the place of the standard library's: this crate has no other way to standard error.
macro_rules! eprintln {
    ($($part:tt)*) => { $crate::tell::line(format_args!($($part)*)) };
}

/// Says a line. Whoever closed standard error does not want to hear it.
pub fn line(text: Arguments<'_>) {
    let text = text.to_string();
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(&text));
}
