//! The inputs of a TFLite file, read by the numbers of the schema's fields: a generated reader could not stand in a
//! workspace that forbids `unsafe`, and a checked one is forty lines.

use super::{Element, Inspected, ModelError, ModelFormat, OpenInput};

/// `TensorType` of the schema.
const FLOAT32: u8 = 0;
const INT8: u8 = 9;

pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, ModelError> {
    read(bytes).ok_or_else(|| ModelError::Damaged("offsets in it lead nowhere".into()))?
}

fn read(bytes: &[u8]) -> Option<Result<Inspected, ModelError>> {
    let file = File(bytes);
    let model = file.follow(0)?;
    let subgraphs = file.tables(model, 2)?;
    let subgraph = *subgraphs.first()?;
    let tensors = file.tables(subgraph, 0)?;
    let buffers = file.tables(model, 4)?;
    let mut whole = false;
    for tensor in &tensors {
        whole |= file.byte(*tensor, 1)? == INT8 && !file.is_constant(*tensor, &buffers)?;
    }
    let inputs = file.numbers(subgraph, 1)?.into_iter();
    let inputs: Option<Vec<Result<OpenInput, ModelError>>> = inputs
        .map(|index| file.input(*tensors.get(usize::try_from(index).ok()?)?))
        .collect();
    let format = match whole {
        true => ModelFormat::TfliteInt8,
        false => ModelFormat::Tflite,
    };
    let inputs: Result<Vec<OpenInput>, ModelError> = inputs?.into_iter().collect();
    Some(inputs.map(|inputs| Inspected { format, inputs }))
}

/// The bytes of a flatbuffer; what leads beyond them is `None`.
struct File<'a>(&'a [u8]);

impl File<'_> {
    fn int(&self, at: usize) -> Option<i32> {
        let bytes = self.0.get(at..at.checked_add(4)?)?;
        Some(i32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn short(&self, at: usize) -> Option<usize> {
        let bytes = self.0.get(at..at.checked_add(2)?)?;
        Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// What an offset leads to.
    fn follow(&self, at: usize) -> Option<usize> {
        at.checked_add(usize::try_from(self.int(at)?).ok()?)
    }

    /// Where a table's field is: `Some(None)` where the table leaves it out.
    fn field(&self, table: usize, number: usize) -> Option<Option<usize>> {
        let back = i64::from(self.int(table)?);
        let vtable = usize::try_from(i64::try_from(table).ok()? - back).ok()?;
        let slot = 4 + 2 * number;
        if slot + 2 > self.short(vtable)? {
            return Some(None);
        }
        Some(match self.short(vtable + slot)? {
            0 => None,
            offset => Some(table.checked_add(offset)?),
        })
    }

    /// Where a vector begins and how many members of `size` bytes it has; none where the table leaves it out.
    fn vector(&self, table: usize, number: usize, size: usize) -> Option<(usize, usize)> {
        let Some(field) = self.field(table, number)? else {
            return Some((0, 0));
        };
        let vector = self.follow(field)?;
        let length = usize::try_from(self.int(vector)?).ok()?;
        let begin = vector.checked_add(4)?;
        // A length that the file cannot hold is none.
        self.0
            .get(begin..begin.checked_add(length.checked_mul(size)?)?)?;
        Some((begin, length))
    }

    /// Where the members of a vector of numbers or offsets are.
    fn members(&self, table: usize, number: usize) -> Option<impl Iterator<Item = usize>> {
        let (begin, length) = self.vector(table, number, 4)?;
        Some((0..length).map(move |i| begin + 4 * i))
    }

    fn tables(&self, table: usize, number: usize) -> Option<Vec<usize>> {
        self.members(table, number)?
            .map(|at| self.follow(at))
            .collect()
    }

    fn numbers(&self, table: usize, number: usize) -> Option<Vec<i32>> {
        self.members(table, number)?
            .map(|at| self.int(at))
            .collect()
    }

    /// A field of one byte, 0 where it is left out.
    fn byte(&self, table: usize, number: usize) -> Option<u8> {
        match self.field(table, number)? {
            Some(at) => self.0.get(at).copied(),
            None => Some(0),
        }
    }

    fn text(&self, table: usize, number: usize) -> Option<String> {
        let (begin, length) = self.vector(table, number, 1)?;
        let bytes = self.0.get(begin..begin + length)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Whether a tensor's contents are in the file, as weights are.
    fn is_constant(&self, tensor: usize, buffers: &[usize]) -> Option<bool> {
        let buffer = match self.field(tensor, 2)? {
            Some(at) => usize::try_from(self.int(at)?).ok()?,
            None => 0,
        };
        let buffer = *buffers.get(buffer)?;
        let (_, length) = self.vector(buffer, 0, 1)?;
        // Data of more than 2 GiB lie behind the tables, at an offset.
        Some(length > 0 || self.field(buffer, 1)?.is_some())
    }

    fn input(&self, tensor: usize) -> Option<Result<OpenInput, ModelError>> {
        let name = self.text(tensor, 3)?;
        let code = self.byte(tensor, 1)?;
        let Some(element) = element(code) else {
            let kind = format!("tensors of type {code} of the schema");
            return Some(Err(ModelError::Element { input: name, kind }));
        };
        // The signature says which dimensions are open; the shape has 1 in their place.
        let signature = self.numbers(tensor, 7)?;
        let shape = match signature.is_empty() {
            true => self.numbers(tensor, 0)?,
            false => signature,
        };
        let dims = shape
            .into_iter()
            .map(|dim| usize::try_from(dim).ok().filter(|&d| d > 0));
        Some(Ok(OpenInput {
            name,
            element,
            dims: Some(dims.collect()),
        }))
    }
}

fn element(code: u8) -> Option<Element> {
    Some(match code {
        FLOAT32 => Element::Float32,
        2 => Element::Int32,
        3 => Element::Uint8,
        4 => Element::Int64,
        6 => Element::Bool,
        INT8 => Element::Int8,
        _ => return None,
    })
}
