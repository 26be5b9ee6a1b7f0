//! Pages on standard output: as they are in files and pipes, and set for reading on a terminal, where asterisks, bars
//! and lines of six hundred columns would stand in the way.

use std::io::{self, IsTerminal as _, Write as _};

use blocklens_core::shown::visible;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use pulldown_cmark::{Alignment, Event, Options, Parser, Tag, TagEnd};
use textwrap::WordSeparator;

/// The columns that lines are set to, whatever the terminal has: longer lines are hard to read.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=110;

/// Where bold words begin and end while lines are laid out: characters that take no column.
const BOLD: char = '\u{200b}';
const PLAIN: char = '\u{200c}';

/// Prints a page of Markdown.
///
/// # Errors
/// Where standard output takes nothing.
pub fn print(markdown: &str) -> io::Result<()> {
    let (text, mut out) = (visible(markdown.trim_end()), io::stdout().lock());
    if !out.is_terminal() {
        return writeln!(out, "{text}");
    }
    let columns = usize::from(console::Term::stdout().size().1);
    let width = columns.clamp(*WIDTHS.start(), *WIDTHS.end());
    writeln!(out, "{}", set(&text, width, console::colors_enabled()))
}

/// Markdown as lines of at most `width` columns, where words and tables allow it.
fn set(markdown: &str, width: usize, styled: bool) -> String {
    let markdown = markdown.replace([BOLD, PLAIN], "");
    let mut page = Page::new(width);
    for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES) {
        page.take(event);
    }
    let (bold, plain) = if styled {
        ("\x1b[1m", "\x1b[22m")
    } else {
        ("", "")
    };
    page.out
        .trim_end()
        .replace(BOLD, bold)
        .replace(PLAIN, plain)
}

/// What is set so far.
struct Page {
    width: usize,
    out: String,
    /// The text of the paragraph, item or cell that is open.
    text: String,
    /// How many things around the text make it bold.
    strong: usize,
    /// The lists that are open: the number of the next item, where they count.
    lists: Vec<Option<u64>>,
    /// What stands before the open item's first line.
    bullet: String,
    /// Whether lines stay as they are.
    code: bool,
    table: Table,
    row: Vec<String>,
}

impl Page {
    fn new(width: usize) -> Self {
        Self {
            width,
            out: String::new(),
            text: String::new(),
            strong: 0,
            lists: Vec::new(),
            bullet: String::new(),
            code: false,
            table: Table::new(),
            row: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) | Event::Html(text) | Event::InlineHtml(text) => {
                self.say(&text);
            }
            Event::SoftBreak => self.text.push(' '),
            Event::HardBreak => self.text.push('\n'),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } | Tag::Strong => self.strong += 1,
            Tag::CodeBlock(_) => self.code = true,
            Tag::List(first) => {
                self.paragraph();
                self.lists.push(first);
            }
            Tag::Item => {
                self.bullet = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".into(),
                };
            }
            Tag::Table(columns) => self.table = table(self.width, &columns),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong => self.strong -= 1,
            TagEnd::Heading(_) => {
                self.strong -= 1;
                self.paragraph();
                self.gap();
            }
            TagEnd::Paragraph => {
                self.paragraph();
                self.gap();
            }
            TagEnd::Item => self.paragraph(),
            TagEnd::List(_) => {
                self.lists.pop();
                self.gap();
            }
            TagEnd::CodeBlock => self.verbatim(),
            TagEnd::TableCell => self.row.push(std::mem::take(&mut self.text)),
            TagEnd::TableHead => {
                self.table.set_header(std::mem::take(&mut self.row));
            }
            TagEnd::TableRow => {
                self.table.add_row(std::mem::take(&mut self.row));
            }
            TagEnd::Table => {
                self.out.push_str(&self.table.trim_fmt());
                self.out.push('\n');
                self.gap();
            }
            _ => {}
        }
    }

    /// Adds to the open text; every bold word by itself, so that a line or cell that ends ends nothing.
    fn say(&mut self, text: &str) {
        if self.strong == 0 || self.code {
            self.text.push_str(text);
            return;
        }
        let words: Vec<String> = text.split(' ').map(bold).collect();
        self.text.push_str(&words.join(" "));
    }

    /// Sets the open text.
    fn paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        let bullet = std::mem::take(&mut self.bullet);
        if text.is_empty() {
            return;
        }
        let outer = "  ".repeat(self.lists.len().saturating_sub(1));
        let (first, rest) = if self.lists.is_empty() {
            (String::new(), String::new())
        } else {
            (
                format!("{outer}{bullet}"),
                format!("{outer}{}", " ".repeat(bullet.len())),
            )
        };
        let options = textwrap::Options::new(self.width)
            .initial_indent(&first)
            .subsequent_indent(&rest)
            .word_separator(WordSeparator::AsciiSpace)
            .break_words(false);
        self.out.push_str(&textwrap::fill(&text, options));
        self.out.push('\n');
    }

    /// Sets the open text as it is.
    fn verbatim(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.out.push_str(&textwrap::indent(&text, "    "));
        self.code = false;
        self.gap();
    }

    /// One empty line before what follows.
    fn gap(&mut self) {
        if self.lists.is_empty() && !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }
}

fn bold(word: &str) -> String {
    if word.is_empty() {
        return String::new();
    }
    format!("{BOLD}{word}{PLAIN}")
}

/// An empty table: a line below the head, and cells that break where the terminal is narrow.
fn table(width: usize, columns: &[Alignment]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX));
    // A table knows its columns from its rows.
    table.set_header(vec![""; columns.len()]);
    for (column, alignment) in table.column_iter_mut().zip(columns) {
        if *alignment == Alignment::Right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page\n\nSome words that are **rather many for a line** of forty columns.\n\n\
        - an *item* of `code\\|bar` that goes on and on until it ends\n- **another \\*one**\n\n\
        | kernel | expansion 3 | all |\n|---|---:|---:|\n| 3x3 | -1.3 [-1.5, -1.2] | **+4** |\n\n\
        The end: a\\_b &lt;c&gt;.\n";

    #[test]
    fn pages_are_set_as_wide_as_asked() {
        let text = set(PAGE, 40, false);
        let expected = "A page\n\n\
            Some words that are rather many for a\nline of forty columns.\n\n\
            - an item of code\\|bar that goes on and\n  on until it ends\n- another *one\n\n\
            \u{20}kernel        expansion 3  all\n\
            ────────────────────────────────\n\
            \u{20}3x3     -1.3 [-1.5, -1.2]   +4\n\n\
            The end: a_b <c>.";
        assert_eq!(text, expected);
    }

    #[test]
    fn bold_words_are_bold_where_the_terminal_has_it_and_take_no_columns() {
        let (plain, styled) = (set(PAGE, 40, false), set(PAGE, 40, true));
        assert!(styled.contains("\x1b[1mrather\x1b[22m"), "{styled}");
        assert_eq!(console::strip_ansi_codes(&styled), plain);
    }

    #[test]
    fn tables_that_are_too_wide_break_in_their_cells() {
        let cells = |cell: &str| format!("|{}\n", format!(" {cell} |").repeat(6));
        let page = [cells("a head"), cells("---"), cells("-1.3 [-1.5, -1.2]")].concat();
        let text = set(&page, 60, false);
        assert!(
            text.lines()
                .all(|line| console::measure_text_width(line) <= 60),
            "{text}"
        );
        assert_eq!(text.matches("[-1.5,").count(), 6, "{text}");
    }

    #[test]
    fn numbered_and_nested_lists_keep_their_order() {
        let text = set("1. one\n   - deep\n2. two\n", 40, false);
        assert_eq!(text, "1. one\n  - deep\n2. two");
    }
}
