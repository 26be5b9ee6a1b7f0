//! Writes the Rust types of ONNX files from the format's own description.
//!
//! ```text
//! cargo run --manifest-path tools/onnx-proto/Cargo.toml -- \
//!     <folder of onnx.proto> crates/core/src/network/onnx_proto.rs
//! rustfmt crates/core/src/network/onnx_proto.rs
//! ```
//!
//! `onnx.proto` comes with every release of ONNX, and with its Python package (in the folder `onnx`).
//! It is compiled by `protox`, so `protoc` is not needed.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const HEADER: &str = "\
// Generated from onnx.proto of ONNX 1.23 by tools/onnx-proto; do not edit.
//
// onnx.proto is Copyright (c) ONNX Project Contributors and licensed under Apache-2.0
// (SPDX-License-Identifier: Apache-2.0), and so are these types, which are derived from it.
";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1).map(PathBuf::from);
    let (Some(folder), Some(target), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: onnx-proto <folder of onnx.proto> <file to write>".into());
    };
    let descriptors = protox::compile(["onnx.proto"], [&folder])?;
    let scratch = env::temp_dir().join(format!("onnx-proto-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let mut config = prost_build::Config::new();
    config.out_dir(&scratch);
    config.disable_comments(["."]);
    // Weights are most of a file: keep them as one buffer.
    config.bytes([".onnx.TensorProto.raw_data"]);
    config.compile_fds(descriptors)?;
    let types = fs::read_to_string(scratch.join("onnx.rs"))?;
    fs::remove_dir_all(&scratch)?;
    fs::write(target, format!("{HEADER}\n{types}"))?;
    Ok(())
}
