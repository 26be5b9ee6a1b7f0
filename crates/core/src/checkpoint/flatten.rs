//! From the object in a pickle to named tensors.

use super::dtype::Dtype;
use super::pickle::{Heap, Object, TensorView, Value};
use super::{NUMBERS_PER_BYTE, Problem, Tensor, elements};

/// Keys under which training scripts put the state dict.
const WRAPPERS: [&str; 6] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "weights",
    "params",
];
/// Dictionaries deeper than this hold no weights.
const DEEPEST: usize = 16;
/// PyTorch has no tensors of more dimensions.
const MOST_DIMENSIONS: usize = 64;
/// Keys longer than this name no weights.
const LONGEST_KEY: usize = 4096;
/// Letters of all names together, for each byte of the file: nested dictionaries repeat their prefix.
const LETTERS_PER_BYTE: usize = 16;

/// The bytes of storages, by their keys.
pub(super) trait Storages {
    /// All bytes of a storage.
    fn load(&mut self, key: &str) -> Result<&[u8], Problem>;
}

/// What a persistent id says about a storage.
pub(super) struct Description<'a> {
    pub dtype: Dtype,
    pub key: &'a str,
    /// How many numbers it has.
    pub numbers: usize,
    /// Where its numbers begin among those in the file (views of storages in files before torch 1.6).
    pub first: usize,
}

impl<'a> Description<'a> {
    /// Reads `('storage', class, key, location, numbers[, (view key, first, numbers)])`.
    pub(super) fn read(heap: &'a Heap, id: Value) -> Result<Self, Problem> {
        let damaged = || Problem::damaged("a storage is not described as PyTorch does");
        let fields = heap.sequence(id).ok_or_else(damaged)?;
        let [kind, class, key, _, numbers, view @ ..] = fields else {
            return Err(damaged());
        };
        let (Some("storage"), Some(Object::Global(class)), Some(key)) =
            (heap.text(*kind), heap.object(*class), heap.text(*key))
        else {
            return Err(damaged());
        };
        let dtype = Dtype::of_storage(class).ok_or_else(|| {
            Problem::unsupported(format!("it has a `{class}`; save its tensors as float32"))
        })?;
        let (mut first, mut numbers) = (Some(0), whole(*numbers));
        if let Some([_, start, length]) = view.first().and_then(|view| heap.sequence(*view)) {
            (first, numbers) = (whole(*start), whole(*length));
        }
        let (first, numbers) = first.zip(numbers).ok_or_else(damaged)?;
        Ok(Self {
            dtype,
            key,
            numbers,
            first,
        })
    }

    /// The part of the storage's bytes that the description is about.
    fn within<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let size = self.dtype.size();
        let start = self.first.checked_mul(size)?;
        let end = start.checked_add(self.numbers.checked_mul(size)?)?;
        bytes.get(start..end)
    }
}

/// The tensors of the state dict that `root` is or holds.
pub(super) fn tensors(
    heap: &Heap,
    root: Value,
    storages: &mut dyn Storages,
    file_size: usize,
) -> Result<Vec<(String, Tensor)>, Problem> {
    let mut found = Vec::new();
    match heap.object(root) {
        Some(Object::Dict(entries)) => {
            collect(heap, unwrapped(heap, entries), file_size, &mut found)?;
        }
        Some(Object::Opaque(global) | Object::Global(global)) => {
            return Err(Problem::Code(global.to_string()));
        }
        _ => {}
    }
    if found.is_empty() {
        let opaque = heap.objects.iter().find_map(|object| match object {
            Object::Opaque(global) => Some(global.to_string()),
            _ => None,
        });
        return Err(opaque.map_or_else(
            || {
                Problem::unsupported(
                    "it holds no dictionary of tensors; save one with torch.save(net.state_dict(), \
                ...)",
                )
            },
            Problem::Code,
        ));
    }
    let mut budget = file_size.saturating_mul(NUMBERS_PER_BYTE);
    let mut all = Vec::with_capacity(found.len());
    for (name, view) in found {
        let tensor = gather(heap, &name, view, storages, &mut budget)?;
        all.push((name, tensor));
    }
    Ok(all)
}

/// The dictionary inside the wrapper that training scripts put around it.
fn unwrapped<'a>(heap: &'a Heap, entries: &'a [(Value, Value)]) -> &'a [(Value, Value)] {
    let inside = |wrapper: &&str| {
        let entry = entries
            .iter()
            .find(|(key, _)| heap.text(*key) == Some(wrapper))?;
        match heap.object(entry.1)? {
            Object::Dict(inner) => Some(inner.as_slice()),
            _ => None,
        }
    };
    WRAPPERS.iter().find_map(inside).unwrap_or(entries)
}

/// Finds the tensors of a dictionary and of those inside it, without recursion.
fn collect<'a>(
    heap: &'a Heap,
    entries: &'a [(Value, Value)],
    file_size: usize,
    found: &mut Vec<(String, &'a TensorView)>,
) -> Result<(), Problem> {
    // Each entry is worth one visit: dictionaries that share dictionaries could be walked for ever.
    let entries_of = |object: &Object| match object {
        Object::Dict(entries) => entries.len(),
        _ => 0,
    };
    let mut visits: usize = heap.objects.iter().map(entries_of).sum();
    let mut letters = file_size.saturating_mul(LETTERS_PER_BYTE);
    let mut todo = vec![(String::new(), entries, 0)];
    while let Some((prefix, entries, depth)) = todo.pop() {
        for (key, value) in entries {
            visits = visits.checked_sub(1).ok_or_else(|| {
                Problem::unsupported(
                    "its dictionaries share dictionaries, which state dicts do not",
                )
            })?;
            let Some(key) = heap.text(*key) else {
                continue;
            };
            if prefix.len() + key.len() > LONGEST_KEY {
                return Err(Problem::unsupported(
                    "it has a key of more than 4096 letters",
                ));
            }
            letters = letters
                .checked_sub(prefix.len() + key.len())
                .ok_or_else(|| {
                    Problem::unsupported("its keys are longer than the file, again and again")
                })?;
            let name = format!("{prefix}{key}");
            match heap.object(*value) {
                Some(Object::Tensor(view)) => found.push((name, view)),
                Some(Object::Dict(inner)) if depth < DEEPEST => {
                    todo.push((format!("{name}."), inner, depth + 1));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn gather(
    heap: &Heap,
    name: &str,
    view: &TensorView,
    storages: &mut dyn Storages,
    budget: &mut usize,
) -> Result<Tensor, Problem> {
    let wrong = |what: &str| Problem::damaged(format!("`{name}`: {what}"));
    let lengths = |value| -> Option<Vec<usize>> {
        let numbers = heap.sequence(value)?.iter();
        numbers.map(|n| whole(*n)).collect()
    };
    let shape = lengths(view.shape).ok_or_else(|| wrong("its shape is not a list of lengths"))?;
    let strides =
        lengths(view.strides).ok_or_else(|| wrong("its strides are not a list of lengths"))?;
    let offset = whole(view.offset).ok_or_else(|| wrong("its offset is no length"))?;
    if shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
        return Err(wrong("its shape and strides do not belong together"));
    }
    let count = elements(&shape).ok_or_else(|| wrong("its shape is too large"))?;
    *budget = budget.checked_sub(count.saturating_add(shape.len())).ok_or_else(|| {
        wrong("the file's tensors would be larger than the file: they show the same numbers again and again")
    })?;
    let Some(Object::Persistent(id)) = heap.object(view.storage) else {
        return Err(wrong("it has no storage"));
    };
    let description = Description::read(heap, *id)?;
    let bytes = description.within(storages.load(description.key)?);
    let bytes = bytes.ok_or_else(|| wrong("its storage has fewer numbers than it should"))?;
    let last = last_index(&shape, &strides, offset).ok_or_else(|| wrong("its strides overflow"))?;
    if count > 0 && last >= description.numbers {
        return Err(wrong("it reaches beyond its storage"));
    }
    Ok(Tensor {
        values: strided(bytes, description.dtype, &shape, &strides, [offset, count]),
        shape,
    })
}

fn whole(value: Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).ok(),
        _ => None,
    }
}

fn last_index(shape: &[usize], strides: &[usize], offset: usize) -> Option<usize> {
    let mut dimensions = shape.iter().zip(strides);
    dimensions.try_fold(offset, |last, (length, stride)| {
        last.checked_add(length.saturating_sub(1).checked_mul(*stride)?)
    })
}

/// The numbers of a view, `[offset, count]` of them, in row-major order. Bounds are checked by the caller.
fn strided(
    bytes: &[u8],
    dtype: Dtype,
    shape: &[usize],
    strides: &[usize],
    [offset, count]: [usize; 2],
) -> Vec<f32> {
    if count == 0 {
        return Vec::new();
    }
    let size = dtype.size();
    let dimensions = shape.iter().zip(strides).rev();
    let (_, dense) = dimensions.fold((1, true), |(step, dense), (length, stride)| {
        (step * length, dense && (*length == 1 || *stride == step))
    });
    if dense {
        return dtype.decode(&bytes[offset * size..(offset + count) * size]);
    }
    let mut values = Vec::with_capacity(count);
    let mut position = vec![0; shape.len()];
    let mut index = offset;
    for _ in 0..count {
        values.push(dtype.number(&bytes[index * size..(index + 1) * size]));
        // The next position, as an odometer counts.
        for dimension in (0..shape.len()).rev() {
            position[dimension] += 1;
            index = index.wrapping_add(strides[dimension]);
            if position[dimension] < shape[dimension] {
                break;
            }
            index = index.wrapping_sub(position[dimension].wrapping_mul(strides[dimension]));
            position[dimension] = 0;
        }
    }
    values
}
