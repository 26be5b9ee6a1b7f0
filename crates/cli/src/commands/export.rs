//! `blocklens arch export`: networks as files that other tools read.

use std::path::{Path, PathBuf};

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

use super::given::{self, Choice, Chosen};
use super::{load_space, print_json, print_line, read_limited};
use crate::args::{ExportArgs, Format};
use crate::files;

/// Largest checkpoint that is read, in bytes: far above any supernet published.
const LARGEST_CHECKPOINT: u64 = 4 << 30;
/// How far into an ONNX file it says who wrote it, in bytes.
const HEAD: usize = 1_000;
/// Where the best of a file go, where nothing else is said.
const FOLDER: &str = "blocklens-export";
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
                "{} does not say what to write: end it in .onnx, .tflite, or .json for the net.config of the ofa \
                 package",
                path.display()
            ),
        })
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Tflite => "tflite",
            Self::NetConfig => "json",
        }
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
    let space = load_space(&args.space)?;
    let (chosen, told) = chosen(args, &space)?;
    let files = Files::of(args, chosen.len())?;
    if files.kind != Kind::Tflite && (args.int8 || args.samples.is_some()) {
        bail!("--int8 and --samples are for .tflite files");
    }
    if args.samples.is_some() && !args.int8 {
        bail!("--samples calibrates integers: it needs --int8");
    }
    let checkpoint = args.weights.as_deref().map(Weighted::read).transpose()?;
    let exporter = Exporter {
        args,
        kind: files.kind,
        space: &space,
        checkpoint,
    };
    if !told.is_empty() && format == Format::Text {
        print_line(&told)?;
    }
    for (number, Chosen { arch, value }) in (1..).zip(&chosen) {
        let (bytes, what) = exporter.model(arch)?;
        let path = files.path(number);
        files::write_over(&path, &bytes, |there| exporter.kind.wrote(there))?;
        let file = path.display();
        let arch = space.print(arch);
        match (format, value) {
            (Format::Json, value) => print_json(&json!({
                "arch": arch,
                "file": file.to_string(),
                "bytes": bytes.len(),
                "value": value.as_ref().map(|(_, value)| value),
            }))?,
            (Format::Text, None) => {
                print_line(&format!("wrote {file} ({}, {what})", size(&bytes)))?;
            }
            (Format::Text, Some((value, _))) => print_line(&format!(
                "wrote {file} ({value}, {}, {what}): {arch}",
                size(&bytes)
            ))?,
        }
    }
    Ok(())
}

fn size(bytes: &[u8]) -> String {
    let bytes = bytes.len() as f64;
    match bytes < 1e6 {
        true => format!("{:.0} kB", bytes / 1e3),
        false => format!("{:.1} MB", bytes / 1e6),
    }
}

/// The architectures to export, and what to say of how they were chosen.
fn chosen(args: &ExportArgs, space: &DesignSpace) -> Result<(Vec<Chosen>, String)> {
    let choice = Choice::new(&args.best, args.resolution);
    if !given::is_file(&args.arch) {
        choice.check_nothing(&args.arch)?;
        let arch = given::written(space, &args.arch, args.resolution)?;
        return Ok((vec![Chosen { arch, value: None }], String::new()));
    }
    given::choose(space, &args.arch, &choice)
}

/// Where the files go.
struct Files {
    kind: Kind,
    folder: PathBuf,
    /// The names, without their numbers and endings.
    stem: String,
    ending: String,
    /// Digits of a number; none where there is one file, which is called as was asked for.
    digits: usize,
}

impl Files {
    fn of(args: &ExportArgs, count: usize) -> Result<Self> {
        let stem = |path: &Path| path.file_stem().map(|s| s.to_string_lossy().into_owned());
        let several = args.best.best.is_some();
        let make = |folder: &Path| {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))
        };
        let output = match &args.output {
            Some(output) => output.clone(),
            None if several => PathBuf::from(FOLDER),
            None => bail!("--output says which file to write, such as --output net.onnx"),
        };
        if several && (output.is_dir() || output.extension().is_none()) {
            make(&output)?;
            let kind = if args.int8 { Kind::Tflite } else { Kind::Onnx };
            return Ok(Self {
                kind,
                folder: output,
                stem: stem(Path::new(&args.arch)).unwrap_or_else(|| "best".into()),
                ending: kind.ending().to_owned(),
                digits: count.to_string().len(),
            });
        }
        let kind = Kind::of(&output)?;
        let folder = output.parent().unwrap_or(Path::new("")).to_owned();
        if several && !folder.as_os_str().is_empty() {
            make(&folder)?;
        }
        let ending = output.extension().map(|e| e.to_string_lossy().into_owned());
        Ok(Self {
            kind,
            folder,
            stem: stem(&output).unwrap_or_default(),
            ending: ending.unwrap_or_default(),
            digits: if several { count.to_string().len() } else { 0 },
        })
    }

    /// The file of architecture `number`, counted from 1.
    fn path(&self, number: usize) -> PathBuf {
        let (stem, ending, digits) = (&self.stem, &self.ending, self.digits);
        self.folder.join(match digits {
            0 => format!("{stem}.{ending}"),
            _ => format!("{stem}-{number:0digits$}.{ending}"),
        })
    }
}

/// A checkpoint that weights are taken from.
struct Weighted {
    name: String,
    checkpoint: Checkpoint,
}

impl Weighted {
    fn read(path: &Path) -> Result<Self> {
        let bytes = read_limited(path, LARGEST_CHECKPOINT)
            .with_context(|| format!("cannot read the checkpoint {}", path.display()))?;
        let name = path.display().to_string();
        let checkpoint = Checkpoint::read(&name, &bytes)?;
        Ok(Self { name, checkpoint })
    }
}

/// What is the same for every architecture.
struct Exporter<'a> {
    args: &'a ExportArgs,
    kind: Kind,
    space: &'a DesignSpace,
    checkpoint: Option<Weighted>,
}

impl Exporter<'_> {
    /// The bytes of a file, and what is in them.
    fn model(&self, arch: &Architecture) -> Result<(Vec<u8>, String)> {
        if self.kind == Kind::NetConfig {
            let config = self.space.to_net_config(arch)?;
            let what = "net.config of the ofa package".to_owned();
            return Ok((serde_json::to_vec(&config)?, what));
        }
        let seed = Seed(self.args.seed);
        let (network, weights, origin) = match &self.checkpoint {
            Some(Weighted { name, checkpoint }) => {
                let sliced = Supernet::new(self.space, checkpoint)?.slice(arch);
                let (network, weights) = sliced.with_context(|| format!("cannot slice {name}"))?;
                (network, weights, format!("weights of {name}"))
            }
            None => {
                let network = self.space.network(arch);
                let weights = Weights::random(&network, seed);
                (network, weights, "random weights".to_owned())
            }
        };
        let name = self.space.print(arch);
        if self.kind == Kind::Onnx {
            return Ok((onnx::export(&network, &weights, &name)?, origin));
        }
        if !self.args.int8 {
            return Ok((tflite::export(&network, &weights, &name)?, origin));
        }
        let (samples, calibrated) = samples(self.args, &network, seed)?;
        let images = samples.iter().map(Vec::as_slice);
        let calibration = Calibration::observe(&network, &weights, images)?;
        let bytes = tflite::export_int8(&network, &weights, &name, &calibration)?;
        Ok((bytes, format!("int8, {origin}, calibrated on {calibrated}")))
    }
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
