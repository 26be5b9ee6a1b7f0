//! The ONNX files of a space's own blocks, with the data that they keep in files beside them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocklens_core::fragment::{external_files, with_external_data};

use super::read_limited;

/// Largest ONNX file of a block that is read, in bytes, and largest file of its data.
const LARGEST_BLOCK_FILE: u64 = 64 << 20;

/// The bytes of a block's file with all its data inside, so that one file is what spaces carry, stores keep and
/// workers receive.
pub(super) fn read_block(path: &Path) -> Result<Vec<u8>> {
    let onnx = read_limited(path, LARGEST_BLOCK_FILE)
        .with_context(|| format!("cannot read the block {}", path.display()))?;
    let whole = |onnx: &[u8]| -> Result<Vec<u8>> {
        let mut files = BTreeMap::new();
        for name in external_files(onnx)? {
            let data = read_beside(path, &name)?;
            files.insert(name, data);
        }
        Ok(with_external_data(onnx, &files)?)
    };
    whole(&onnx).with_context(|| format!("the block {}", path.display()))
}

/// A file of data in the folder of the ONNX file or below it, also after links were followed.
fn read_beside(onnx: &Path, name: &str) -> Result<Vec<u8>> {
    let data = onnx.with_file_name(name);
    let missing = || {
        format!(
            "it keeps the data of its weights in {}, which cannot be read: exporters write both \
             files, and both are needed",
            data.display()
        )
    };
    let real = data.canonicalize().with_context(missing)?;
    let folder = onnx.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder
        .unwrap_or(Path::new("."))
        .canonicalize()
        .with_context(missing)?;
    if !real.starts_with(&folder) {
        bail!(
            "it keeps the data of its weights in {}, a link out of the folder to {}: copy that file into the folder",
            data.display(),
            real.display()
        );
    }
    read_limited(&real, LARGEST_BLOCK_FILE).with_context(missing)
}
