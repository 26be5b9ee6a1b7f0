//! `blocklens arch export`: networks as files that other tools read.

use std::path::Path;

use anyhow::{Context, Result, bail};
use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::network::tflite::{self, Calibration};
use blocklens_core::network::{Network, Weights, onnx};
use blocklens_core::ofa::Supernet;
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_measure::files::contains;
use rand::RngExt;
use serde_json::json;

use super::arch::read_arch;
use super::{load_space, print_json, print_line, read_limited};
use crate::args::{ExportArgs, Format};
use crate::files;

/// Largest checkpoint that is read, in bytes: far above any supernet published.
const LARGEST_CHECKPOINT: u64 = 4 << 30;
/// How far into an ONNX file it says who wrote it, in bytes.
const HEAD: usize = 1_000;
/// Random images from which ranges are calibrated when none are given.
const RANDOM_SAMPLES: u64 = 16;

/// What a file holds, by the end of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Onnx,
    Tflite,
    NetConfig,
}

impl Kind {
    fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        Ok(match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("onnx") => Self::Onnx,
            Some("tflite") => Self::Tflite,
            Some("json" | "config") => Self::NetConfig,
            _ => bail!(
                "{} does not say what to write: end it in .onnx, .tflite, or .json for the net.config of the ofa package",
                path.display()
            ),
        })
    }
}

impl Kind {
    /// Whether a file is one that this command wrote. A `net.config` does not say who did: those of others have lines.
    fn wrote(self, file: &[u8]) -> bool {
        let has = |what: &str| contains(file, what);
        match self {
            Self::Onnx => contains(&file[..file.len().min(HEAD)], "blocklens"),
            Self::Tflite => file.get(4..8) == Some(b"TFL3") && has("blocklens "),
            Self::NetConfig => has("\"blocks\":[") && has("\"classifier\":") && !has("\n"),
        }
    }
}

/// Carries out the subcommand.
pub fn run(args: &ExportArgs, format: Format) -> Result<()> {
    let kind = Kind::of(&args.output)?;
    if kind != Kind::Tflite && (args.int8 || args.samples.is_some()) {
        bail!("--int8 and --samples are for .tflite files");
    }
    if args.samples.is_some() && !args.int8 {
        bail!("--samples calibrates integers: it needs --int8");
    }
    let space = load_space(&args.space)?;
    let arch = read_arch(&space, &args.arch)?;
    let (bytes, what) = match kind {
        Kind::NetConfig => {
            let config = space.to_net_config(&arch)?;
            (
                serde_json::to_vec(&config)?,
                "net.config of the ofa package".to_owned(),
            )
        }
        Kind::Onnx | Kind::Tflite => model(args, kind, &space, &arch)?,
    };
    files::write_over(&args.output, &bytes, |there| kind.wrote(there))?;
    match format {
        Format::Json => print_json(&json!({
            "arch": space.print(&arch),
            "file": args.output,
            "bytes": bytes.len(),
        })),
        Format::Text => print_line(&format!(
            "wrote {} ({:.1} MB, {what})",
            args.output.display(),
            bytes.len() as f64 / 1e6
        )),
    }
}

/// The bytes of a model, and what is in them.
fn model(
    args: &ExportArgs,
    kind: Kind,
    space: &DesignSpace,
    arch: &Architecture,
) -> Result<(Vec<u8>, String)> {
    let seed = Seed(args.seed);
    let (network, weights, origin) = match &args.weights {
        Some(path) => {
            let bytes = read_limited(path, LARGEST_CHECKPOINT)
                .with_context(|| format!("cannot read the checkpoint {}", path.display()))?;
            let name = path.display().to_string();
            let checkpoint = Checkpoint::read(&name, &bytes)?;
            let sliced = Supernet::new(space, &checkpoint)?.slice(arch);
            let (network, weights) = sliced.with_context(|| format!("cannot slice {name}"))?;
            (network, weights, format!("weights of {name}"))
        }
        None => {
            let network = space.network(arch);
            let weights = Weights::random(&network, seed);
            (network, weights, "random weights".to_owned())
        }
    };
    let name = space.print(arch);
    if kind == Kind::Onnx {
        return Ok((onnx::export(&network, &weights, &name)?, origin));
    }
    if !args.int8 {
        return Ok((tflite::export(&network, &weights, &name)?, origin));
    }
    let (samples, calibrated) = samples(args, &network, seed)?;
    let calibration = Calibration::observe(&network, &weights, samples.iter().map(Vec::as_slice))?;
    let bytes = tflite::export_int8(&network, &weights, &name, &calibration)?;
    Ok((bytes, format!("int8, {origin}, calibrated on {calibrated}")))
}

/// Sample inputs, and what they are.
fn samples(args: &ExportArgs, network: &Network, seed: Seed) -> Result<(Vec<Vec<f32>>, String)> {
    let size = usize::try_from(network.input().elements())?;
    let Some(path) = &args.samples else {
        let image = |i| {
            let mut rng = seed.stream("calibration").index(i).rng();
            (0..size).map(|_| rng.random_range(-2.0..2.0)).collect()
        };
        let images = (0..RANDOM_SAMPLES).map(image).collect();
        return Ok((
            images,
            format!(
                "{RANDOM_SAMPLES} random images: give --samples for ranges that mean something"
            ),
        ));
    };
    let bytes = read_limited(path, LARGEST_CHECKPOINT)
        .with_context(|| format!("cannot read the samples {}", path.display()))?;
    if bytes.is_empty() || bytes.len() % (4 * size) != 0 {
        let shape = network.input();
        bail!(
            "{} has {} bytes, which are not whole images of {} x {} x {} float32 numbers",
            path.display(),
            bytes.len(),
            shape.channels,
            shape.height,
            shape.width
        );
    }
    let images: Vec<Vec<f32>> = bytes
        .chunks_exact(4 * size)
        .map(|image| {
            image
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect()
        })
        .collect();
    let count = images.len();
    Ok((images, format!("{count} images of {}", path.display())))
}
