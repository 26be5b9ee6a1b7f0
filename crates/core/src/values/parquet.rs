//! Parquet files.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row as Record};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::{Cell, Columns, Key, LARGEST_FILE, Row, ValueTableError, Wanted, clip};

/// Bytes that the columns read may have without their compression: more than this is no table of architectures.
const LARGEST_UNPACKED: i64 = 8 * LARGEST_FILE as i64;

/// Runs `read`, which may meet damage that the format's library does not expect.
///
/// # Errors
/// Those of `read`, and [`ValueTableError::Unreadable`] where the library gave up in a panic.
pub(super) fn guarded<T>(
    file: &str,
    read: impl FnOnce() -> Result<T, ValueTableError>,
) -> Result<T, ValueTableError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ValueTableError::Unreadable {
            file: file.to_owned(),
            reason: "it is damaged".into(),
        })
    })
}

/// The columns, and the rows.
pub(super) fn read<'a>(
    file: &'a str,
    bytes: &[u8],
    wanted: &Wanted<'_>,
) -> Result<
    (
        Columns,
        impl Iterator<Item = Result<Row, ValueTableError>> + 'a,
    ),
    ValueTableError,
> {
    let unreadable = move |reason: String| ValueTableError::Unreadable {
        file: file.to_owned(),
        reason,
    };
    let damaged = move |error: ParquetError| unreadable(reason(&error));
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(damaged)?;
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema();
    let headers: Vec<&str> = schema
        .get_fields()
        .iter()
        .map(|field| field.name())
        .collect();
    let columns = Columns::find(file, &headers, wanted)?;
    let needed = [columns.arch, columns.value].map(|index| Arc::clone(&schema.get_fields()[index]));
    let sizes = metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns());
    let of_needed = sizes.filter(|chunk| {
        let path = chunk.column_path().parts();
        path.first()
            .is_some_and(|name| needed.iter().any(|field| field.name() == name))
    });
    let unpacked = of_needed.map(|chunk| chunk.uncompressed_size().max(0));
    if unpacked.fold(0_i64, i64::saturating_add) > LARGEST_UNPACKED {
        return Err(unreadable(format!(
            "its columns are larger than {} MiB without their compression",
            LARGEST_UNPACKED >> 20
        )));
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(needed.to_vec());
    let projection = projection.build().map_err(damaged)?;
    let rows = RowIter::from_file_into(Box::new(reader));
    let rows = rows.project(Some(projection)).map_err(damaged)?;
    let row = move |(line, record): (u64, Result<Record, ParquetError>)| {
        Ok(row(line, record.map_err(damaged)?))
    };
    Ok((columns, (1..).zip(rows).map(row)))
}

/// What the library says, with what to do about it.
fn reason(error: &ParquetError) -> String {
    let text = error.to_string();
    match text.contains("Disabled feature at compile time") {
        true => format!(
            "its compression is not read here ({text}): write it with snappy, gzip, zstd, lz4 or none"
        ),
        false => text,
    }
}

/// The first field is the architecture and the second the value, whatever their order in the file was.
fn row(line: u64, record: Record) -> Row {
    let mut row = Row {
        line,
        arch: Key::Unreadable("no architecture".into()),
        value: Cell::Empty,
    };
    let mut fields = record.into_columns().into_iter();
    if let Some((_, arch)) = fields.next() {
        row.arch = key(arch);
    }
    if let Some((_, value)) = fields.next() {
        row.value = cell(&value);
    }
    row
}

fn key(field: Field) -> Key {
    match field {
        Field::Null => Key::Unreadable("no architecture".into()),
        Field::Str(text) if text.is_empty() => Key::Unreadable("no architecture".into()),
        Field::Str(text) => Key::Text(text),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Key::Text(text.to_owned()),
            Err(_) => Key::Unreadable("the architecture is not UTF-8 text".into()),
        },
        dict @ Field::Group(_) => match value(&dict) {
            Value::Object(dict) => Key::Dict(dict),
            _ => Key::Unreadable("`arch` holds no OFA dictionary".into()),
        },
        _ => Key::Unreadable("`arch` is neither a text nor an OFA dictionary".into()),
    }
}

/// A field of a dictionary as JSON; what no dictionary holds is null.
fn value(field: &Field) -> Value {
    match field {
        Field::Group(row) => {
            let fields = row.get_column_iter();
            // A choice that a supernet does not have is null in every dictionary.
            let fields = fields.filter(|(_, field)| !matches!(field, Field::Null));
            let fields = fields.map(|(name, field)| (name.clone(), value(field)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Float(_) | Field::Double(_) => number(field).map_or(Value::Null, Value::from),
        _ => integer(field).map_or(Value::Null, Value::from),
    }
}

fn integer(field: &Field) -> Option<i64> {
    match field {
        Field::Byte(x) => Some((*x).into()),
        Field::Short(x) => Some((*x).into()),
        Field::Int(x) => Some((*x).into()),
        Field::Long(x) => Some(*x),
        Field::UByte(x) => Some((*x).into()),
        Field::UShort(x) => Some((*x).into()),
        Field::UInt(x) => Some((*x).into()),
        Field::ULong(x) => i64::try_from(*x).ok(),
        _ => None,
    }
}

fn number(field: &Field) -> Option<f64> {
    match field {
        Field::Double(x) => Some(*x),
        Field::Float(x) => Some((*x).into()),
        Field::Float16(x) => Some((*x).into()),
        _ => integer(field).map(|x| x as f64),
    }
}

fn cell(field: &Field) -> Cell {
    match (field, number(field)) {
        (Field::Null, _) => Cell::Empty,
        (_, Some(number)) => Cell::Number(number),
        (other, None) => Cell::Other(clip(&other.to_string())),
    }
}

#[cfg(test)]
mod tests;
