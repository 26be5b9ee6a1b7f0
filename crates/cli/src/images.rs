//! The images that subnets of supernets are evaluated on, as they are typed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use blocklens_core::network::Pooling;
use blocklens_measure::images::Cache;
use blocklens_measure::supernet::{CacheOptions, Calibration, Options, Split};
use clap::{Args, ValueEnum};

/// For accuracy@SUPERNET.pth.
#[derive(Debug, Args)]
#[command(next_help_heading = "Images (for accuracy, top5 and loss of a supernet's checkpoint)")]
pub struct ImageArgs {
    /// Folder of images, one folder in it for every class, as in ImageNet
    #[arg(long, value_name = "FOLDER")]
    pub images: Option<PathBuf>,

    /// Names of the class folders in the order of the network's outputs, one a line; by name when not given
    #[arg(long, value_name = "FILE", requires = "images")]
    pub classes: Option<PathBuf>,

    /// Which images count: those for comparing architectures, or those for judging what was selected
    #[arg(long, value_enum, default_value_t = SplitChoice::Select)]
    pub split: SplitChoice,

    /// Take at most this many of them, drawn at random
    #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u64).range(1..))]
    pub image_limit: Option<u64>,

    /// Take each subnet's batch-norm statistics from this many images; 0 keeps the supernet's [default: 2000, or as
    /// many as there are for calibrating]
    #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub calibrate: Option<u64>,

    /// Where these images are; when not given, a fifth of --images, which then counts for nothing else
    #[arg(long, value_name = "FOLDER", requires = "images")]
    pub calibration_images: Option<PathBuf>,

    /// Images that are normalised by their common statistics
    #[arg(long, value_name = "IMAGES", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub calibration_batch: u32,

    /// How the statistics of batches become one
    #[arg(long, value_enum, default_value_t = PoolingChoice::Total)]
    pub pooling: PoolingChoice,

    /// Decides which image is for what [default: 1]
    #[arg(long, value_name = "SEED")]
    pub image_seed: Option<u64>,

    /// Leave out images that cannot be read, and say so, instead of giving no value
    #[arg(long)]
    pub skip_broken: bool,

    /// What runs the networks: ort or tract [default: ort where it is found]
    #[arg(long, value_name = "ENGINE")]
    pub image_engine: Option<String>,

    /// Folder that keeps decoded images, or off [default: yours for such things]
    #[arg(long, value_name = "FOLDER|off")]
    pub image_cache: Option<PathBuf>,

    /// Most that it may hold, in GiB
    #[arg(long, value_name = "GIB", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub image_cache_limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitChoice {
    /// For comparing architectures
    Select,
    /// For judging what was selected
    Test,
    /// Both
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PoolingChoice {
    /// Mean and variance of all images together: with the variance between batches
    Total,
    /// The average of the variances within batches, as the ofa package takes it
    Published,
}

impl ImageArgs {
    /// What was typed, for `threads` threads; `None` without images.
    pub fn options(&self, threads: usize, interrupted: &Arc<AtomicBool>) -> Option<Options> {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Some(Options {
            images: self.images.clone()?,
            classes: self.classes.clone(),
            split: match self.split {
                SplitChoice::Select => Split::Select,
                SplitChoice::Test => Split::Test,
                SplitChoice::All => Split::All,
            },
            limit: self.image_limit.map(count),
            calibration: Calibration {
                images: self.calibrate.map(count),
                batch: self.calibration_batch as usize,
                pooling: match self.pooling {
                    PoolingChoice::Total => Pooling::Total,
                    PoolingChoice::Published => Pooling::Published,
                },
                folder: self.calibration_images.clone(),
            },
            seed: self.image_seed.unwrap_or(1),
            skip_broken: self.skip_broken,
            engine: self.image_engine.clone(),
            threads,
            cache: self.cache(),
            interrupted: Arc::clone(interrupted),
        })
    }

    fn cache(&self) -> Option<CacheOptions> {
        let folder = match self.image_cache.as_deref() {
            Some(off) if off == Path::new("off") => None,
            Some(folder) => Some(folder.to_owned()),
            None => Cache::folder_of_user(),
        };
        Some(CacheOptions {
            folder: folder?,
            limit: u64::from(self.image_cache_limit) << 30,
        })
    }
}
