//! Weights that a file keeps in files beside it, as PyTorch's exporter does by default (`model.onnx.data`).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost::bytes::Bytes;

use super::decode::{MAX_FILE, short};
use super::error::Problem;
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{ModelProto, NodeProto, TensorProto};

/// The files, beside the ONNX file, that hold data of its tensors, as it calls them. Bytes that are no ONNX file
/// name none: what is wrong with them is said when the block is read.
///
/// # Errors
/// [`Problem::External`] for a path that leaves the file's folder.
pub fn external_files(onnx: &[u8]) -> Result<Vec<String>, Problem> {
    let mut files = BTreeSet::new();
    let Some(mut model) = decoded(onnx) else {
        return Ok(Vec::new());
    };
    each_tensor(&mut model, &mut |tensor| {
        if is_external(tensor) {
            check_location(tensor)?;
            files.insert(location(tensor).to_owned());
        }
        Ok(())
    })?;
    Ok(files.into_iter().collect())
}

/// The ONNX file with the data of all its tensors inside; `files` holds those that [`external_files`] names. A file
/// that names none is returned as it is.
///
/// # Errors
/// [`Problem::External`] for a path that leaves the file's folder, a file that `files` lacks, or one that is
/// shorter than the tensors say.
pub fn with_external_data(
    onnx: &[u8],
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<u8>, Problem> {
    let Some(mut model) = decoded(onnx) else {
        return Ok(onnx.to_vec());
    };
    let (mut changed, mut total) = (false, onnx.len());
    each_tensor(&mut model, &mut |tensor| {
        if !is_external(tensor) {
            return Ok(());
        }
        check_location(tensor)?;
        let data = piece(tensor, files)?;
        total = total.saturating_add(data.len());
        if total > MAX_FILE {
            let what = "the file's size, with the data in other files,";
            return Err(Problem::too_large(what, MAX_FILE as u64));
        }
        tensor.raw_data = Some(Bytes::copy_from_slice(data));
        tensor.external_data.clear();
        tensor.data_location = None;
        changed = true;
        Ok(())
    })?;
    Ok(match changed {
        true => model.encode_to_vec(),
        false => onnx.to_vec(),
    })
}

fn decoded(onnx: &[u8]) -> Option<ModelProto> {
    (onnx.len() <= MAX_FILE)
        .then(|| ModelProto::decode(onnx).ok())
        .flatten()
}

/// Whether a tensor's data are in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location() == DataLocation::External || !tensor.external_data.is_empty()
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    let found = tensor.external_data.iter().find(|e| e.key() == key)?;
    Some(found.value())
}

/// The file that holds a tensor's data; empty where the tensor does not say.
pub(super) fn location(tensor: &TensorProto) -> &str {
    entry(tensor, "location").unwrap_or_default()
}

fn problem(tensor: &TensorProto, message: impl Into<String>) -> Problem {
    Problem::External {
        tensor: short(tensor.name()),
        file: short(location(tensor)),
        message: message.into(),
    }
}

/// Data are read from the ONNX file's own folder and what is below it, so that a block from elsewhere cannot make
/// this program read any other file.
fn check_location(tensor: &TensorProto) -> Result<(), Problem> {
    let location = location(tensor);
    let mut parts = location.split(['/', '\\']);
    let drive = location.as_bytes().get(1) == Some(&b':');
    let leaves = location.starts_with(['/', '\\']) || drive || parts.any(|part| part == "..");
    if location.is_empty() || location.contains('\0') {
        return Err(problem(tensor, "that is no file's name"));
    }
    if leaves {
        return Err(problem(
            tensor,
            "that path leaves the folder of the ONNX file: put the data beside it and name them by their file name",
        ));
    }
    Ok(())
}

/// The part of a file that is a tensor's data.
fn piece<'a>(
    tensor: &TensorProto,
    files: &'a BTreeMap<String, Vec<u8>>,
) -> Result<&'a [u8], Problem> {
    let file = files
        .get(location(tensor))
        .ok_or_else(|| problem(tensor, "that file is not at hand"))?;
    let number = |key: &str| match entry(tensor, key) {
        None => Ok(None),
        Some(text) => match text.trim().parse::<usize>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(problem(
                tensor,
                format!("its {key} is {}, which is no number of bytes", short(text)),
            )),
        },
    };
    let start = number("offset")?.unwrap_or(0);
    let end = match number("length")? {
        Some(length) => start.saturating_add(length),
        None => file.len().max(start),
    };
    file.get(start..end).ok_or_else(|| {
        let size = file.len();
        problem(
            tensor,
            format!("that file has {size} bytes, and bytes {start} to {end} are asked for: is it complete?"),
        )
    })
}

/// Visits every tensor that a file stores: weights, and constants in the graph and in functions.
fn each_tensor(
    model: &mut ModelProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let nodes = |nodes: &mut Vec<NodeProto>, visit: &mut dyn FnMut(&mut TensorProto) -> _| {
        let attributes = nodes.iter_mut().flat_map(|node| &mut node.attribute);
        attributes
            .filter_map(|attribute| attribute.t.as_mut())
            .try_for_each(visit)
    };
    if let Some(graph) = &mut model.graph {
        graph.initializer.iter_mut().try_for_each(&mut *visit)?;
        nodes(&mut graph.node, visit)?;
    }
    for function in &mut model.functions {
        nodes(&mut function.node, visit)?;
    }
    Ok(())
}
