//! Comma-separated values.

use csv::{ByteRecord, Reader, ReaderBuilder, Trim, WriterBuilder};

use super::column::ARCH;
use super::{Cell, Columns, Key, LONGEST_LINE, Row, ValueTableError, Wanted, clip};

/// The columns, and the rows behind the header.
pub(super) fn read<'a>(
    file: &'a str,
    text: &'a str,
    wanted: &Wanted<'_>,
) -> Result<
    (
        Columns,
        impl Iterator<Item = Result<Row, ValueTableError>> + 'a,
    ),
    ValueTableError,
> {
    let mut records = Records {
        file,
        reader: ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(delimiter(text))
            .from_reader(text.as_bytes()),
        failed: false,
    };
    let unreadable = |reason: &str| ValueTableError::Unreadable {
        file: file.to_owned(),
        reason: reason.to_owned(),
    };
    let header = records
        .next()
        .ok_or_else(|| unreadable("it is empty; its first line must name the columns"))??;
    let headers = header.iter().map(std::str::from_utf8);
    let headers: Vec<&str> = headers
        .collect::<Result<_, _>>()
        .map_err(|_| unreadable("its first line is not UTF-8 text"))?;
    let columns = Columns::find(file, &headers, wanted)?;
    let (width, at) = (headers.len(), columns.clone());
    let rows = records.map(move |record| Ok(row(&record?, width, &at)));
    Ok((columns, rows))
}

/// What separates the fields of the first line such that one of them is the column of architectures.
fn delimiter(text: &str) -> u8 {
    let mut lines = text.lines();
    let first = lines
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let names_it = |by: &u8| {
        let mut fields = first.split(char::from(*by));
        fields.any(|field| field.trim().trim_matches('"') == ARCH)
    };
    [b',', b';', b'\t']
        .into_iter()
        .find(names_it)
        .unwrap_or(b',')
}

struct Records<'a> {
    file: &'a str,
    reader: Reader<&'a [u8]>,
    failed: bool,
}

impl Iterator for Records<'_> {
    type Item = Result<ByteRecord, ValueTableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let (mut record, start) = (ByteRecord::new(), self.reader.position().clone());
        match self.reader.read_byte_record(&mut record) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => {
                self.failed = true;
                return Some(Err(ValueTableError::Unreadable {
                    file: self.file.to_owned(),
                    reason: error.to_string(),
                }));
            }
        }
        let length = self.reader.position().byte().saturating_sub(start.byte());
        if length > LONGEST_LINE as u64 {
            self.failed = true;
            return Some(Err(ValueTableError::LongLine {
                file: self.file.to_owned(),
                line: start.line(),
            }));
        }
        Some(Ok(record))
    }
}

fn row(record: &ByteRecord, width: usize, columns: &Columns) -> Row {
    let field = |index: usize| record.get(index).unwrap_or_default();
    Row {
        line: record.position().map_or(0, csv::Position::line),
        arch: if record.len() > width {
            Key::Unreadable(format!(
                "{} fields where the first line has {width}: an architecture holds commas, so it must stand in quotes",
                record.len()
            ))
        } else {
            key(field(columns.arch))
        },
        value: cell(field(columns.value)),
    }
}

fn key(field: &[u8]) -> Key {
    match std::str::from_utf8(field) {
        Ok("") => Key::Unreadable("no architecture".into()),
        Ok(text) => Key::Text(text.to_owned()),
        Err(_) => Key::Unreadable("the architecture is not UTF-8 text".into()),
    }
}

fn cell(field: &[u8]) -> Cell {
    if field.is_empty() {
        return Cell::Empty;
    }
    let text = String::from_utf8_lossy(field);
    match text.parse() {
        Ok(number) => Cell::Number(number),
        Err(_) => Cell::Other(clip(&text)),
    }
}

/// Records as text.
pub(super) fn write(header: [String; 2], cells: impl Iterator<Item = [String; 2]>) -> String {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    for record in std::iter::once(header).chain(cells) {
        // Writing to memory cannot fail, and all records have two fields.
        let _ = writer.write_record(&record);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
