//! The two containers of `torch.save`.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use super::flatten::{Description, Storages, tensors};
use super::pickle::{Heap, Object, Value, parse};
use super::{Problem, Tensor};

/// Reads the zip format of torch 1.6 and later.
pub(super) fn read_zip(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, Problem> {
    let archive = zip::ZipArchive::new(Cursor::new(bytes));
    let archive = archive.map_err(|e| Problem::damaged(format!("as a zip archive: {e}")))?;
    let names = archive.file_names().filter_map(Result::ok);
    let pickle = names
        .filter(|name| name.rsplit('/').next() == Some("data.pkl"))
        .min_by_key(|name| name.len());
    let pickle = pickle.map(std::borrow::Cow::into_owned).ok_or_else(|| {
        Problem::unsupported("it is a zip archive without data.pkl, so not one of torch.save")
    })?;
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    let mut storages = Zipped {
        archive,
        folder,
        budget: bytes.len(),
        loaded: HashMap::new(),
    };
    let order = format!("{}byteorder", storages.folder);
    if storages.archive.index_for_name(&order).is_some()
        && storages.entry("byteorder")? != b"little"
    {
        return Err(Problem::unsupported("it was saved on a big-endian machine"));
    }
    let pickle = storages.entry("data.pkl")?;
    let (heap, root, _) = parse(&pickle)?;
    tensors(&heap, root, &mut storages, bytes.len())
}

struct Zipped<'a> {
    archive: zip::ZipArchive<Cursor<&'a [u8]>>,
    folder: String,
    /// How many bytes may still be read: entries can overlap, so that all of them are more than the file.
    budget: usize,
    loaded: HashMap<String, Vec<u8>>,
}

impl Zipped<'_> {
    /// The bytes of an entry, which agree with its checksum. PyTorch stores entries as they are; compressed ones
    /// could unfold without end.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>, Problem> {
        let name = format!("{}{name}", self.folder);
        let damaged = |e: &dyn std::fmt::Display| Problem::damaged(format!("entry {name}: {e}"));
        let known = self.archive.by_name(&name).map_err(|e| damaged(&e))?;
        // What PyTorch writes where it is told to compute no checksums.
        let unchecked = known.crc32() == 0;
        drop(known);
        let options = zip::read::ZipReadOptions::new().ignore_crc32(unchecked);
        let entry = self.archive.by_name_with_options(&name, options);
        let mut entry = entry.map_err(|e| damaged(&e))?;
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(Problem::unsupported(format!(
                "entry {name} is compressed, which torch.save does not do"
            )));
        }
        let size = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        let left = self.budget.checked_sub(size);
        self.budget = left.ok_or_else(|| damaged(&"the entries are larger than the file"))?;
        let mut bytes = Vec::with_capacity(size);
        // To the end and not for `size` bytes: the checksum is compared where the end is seen.
        entry.read_to_end(&mut bytes).map_err(|e| {
            damaged(&format!(
                "{e}, so the file is not as it was saved; copy or download it again"
            ))
        })?;
        if bytes.len() != size {
            return Err(damaged(&"it is shorter than the archive says"));
        }
        Ok(bytes)
    }
}

impl Storages for Zipped<'_> {
    fn load(&mut self, key: &str) -> Result<&[u8], Problem> {
        if !self.loaded.contains_key(key) {
            let bytes = self.entry(&format!("data/{key}"))?;
            self.loaded.insert(key.to_owned(), bytes);
        }
        Ok(self.loaded.get(key).map_or(&[], Vec::as_slice))
    }
}

/// What a file before torch 1.6 begins with: a pickled number.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Reads the format before torch 1.6: five pickles, then the storages.
pub(super) fn read_legacy(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, Problem> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(|| {
        Problem::unsupported(
            "it is a pickle, but not one of torch.save; save weights with \
            torch.save(net.state_dict(), ...)",
        )
    })?;
    let mut next = || -> Result<(Heap, Value), Problem> {
        let (heap, value, length) = parse(rest)?;
        rest = &rest[length..];
        Ok((heap, value))
    };
    let (_, version) = next()?;
    if version != Value::Int(1001) {
        return Err(Problem::unsupported(
            "its protocol is not 1001, the one that torch.save wrote",
        ));
    }
    let (system, info) = next()?;
    if let Some(Object::Dict(entries)) = system.object(info) {
        let little = entries
            .iter()
            .find(|(key, _)| system.text(*key) == Some("little_endian"));
        if little.is_some_and(|(_, value)| *value == Value::Bool(false)) {
            return Err(Problem::unsupported("it was saved on a big-endian machine"));
        }
    }
    let (heap, root) = next()?;
    let (names, keys) = next()?;
    let keys: Vec<&str> = names
        .sequence(keys)
        .unwrap_or_default()
        .iter()
        .filter_map(|key| names.text(*key))
        .collect();
    let mut storages = Listed::read(&heap, &keys, rest)?;
    tensors(&heap, root, &mut storages, bytes.len())
}

/// The bytes of every storage, by its key.
struct Listed<'a>(HashMap<String, &'a [u8]>);

impl<'a> Listed<'a> {
    fn read(heap: &Heap, keys: &[&str], mut rest: &'a [u8]) -> Result<Self, Problem> {
        let mut sizes = HashMap::new();
        for object in &heap.objects {
            if let Object::Persistent(id) = object
                && heap.module_class(*id).is_none()
            {
                let description = Description::read(heap, *id)?;
                sizes.insert(description.key, description.dtype.size());
            }
        }
        let early = |key: &str| Problem::damaged(format!("it ends within storage {key}"));
        let mut found = HashMap::new();
        for key in keys {
            let (count, after) = rest.split_first_chunk::<8>().ok_or_else(|| early(key))?;
            let size = sizes.get(key).copied().unwrap_or(1);
            let length = usize::try_from(i64::from_le_bytes(*count))
                .ok()
                .and_then(|n| n.checked_mul(size));
            let split = length.and_then(|length| after.split_at_checked(length));
            let (bytes, after) = split.ok_or_else(|| early(key))?;
            found.insert((*key).to_owned(), bytes);
            rest = after;
        }
        // This format has no checksum, so that its lengths are all there is to compare.
        if !rest.is_empty() {
            let extra = rest.len();
            return Err(Problem::damaged(format!(
                "{extra} bytes follow its last storage"
            )));
        }
        Ok(Self(found))
    }
}

impl Storages for Listed<'_> {
    fn load(&mut self, key: &str) -> Result<&[u8], Problem> {
        let bytes = self.0.get(key).copied();
        bytes.ok_or_else(|| Problem::damaged(format!("storage {key} is not in the file")))
    }
}
