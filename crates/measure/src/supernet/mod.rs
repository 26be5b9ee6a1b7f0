//! The accuracy of subnets that are sliced from a supernet's checkpoint, on a folder of images.
//!
//! | step | where |
//! |---|---|
//! | which images there are and what each is for | [`crate::images`] |
//! | a subnet's weights, with its batch-norms apart | `blocklens_core::ofa::Supernet` |
//! | batch-norm statistics of the subnet from images for calibrating | `calibrate` in `evaluation` |
//! | logits of the images that count -> top-1, top-5, loss | `score` in `evaluation` |
//! | threads that all architectures share | `threads` |
//!
//! The same options, checkpoint and engine give the same values on any number of threads: batches are the same, each is
//! computed by one thread, and sums are taken in their order.

mod evaluation;
mod options;
mod set;
mod threads;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::measurement::Failure;
use blocklens_core::metric::{Direction, Metric, MetricError, MetricInfo, Origin};
use blocklens_core::network::Pooling;
use blocklens_core::ofa::Supernet as Slicer;
use blocklens_core::space::{Architecture, DesignSpace};

use crate::engine::{self, Engine};
use crate::files;
use crate::images::{Cache, ImageError, PIPELINE, Role};
use evaluation::Scores;
pub use options::{CacheOptions, Calibration, Options, Split, SupernetError, USUAL_IMAGES};
use set::{Set, Sets};
use threads::Threads;

/// A supernet, the images that its subnets are evaluated on, and what is known of them already.
#[derive(Debug)]
pub struct Supernet {
    space: DesignSpace,
    checkpoint: Checkpoint,
    /// What the checkpoint is called.
    file: String,
    engine: Box<dyn Engine>,
    sets: Sets,
    options: Options,
    threads: Threads,
    /// Changes with everything that values depend on.
    fingerprint: String,
    known: Mutex<BTreeMap<String, Known>>,
}

/// The scores of an architecture, once they are known.
type Known = Arc<OnceLock<Result<Scores, Trouble>>>;

/// Why an architecture has no value.
#[derive(Clone, Debug, PartialEq)]
enum Trouble {
    NotApplicable(String),
    Failed(Failure),
}

impl Trouble {
    /// A failure in words.
    #[allow(clippy::needless_pass_by_value)] // as errors come
    fn failed(message: impl ToString) -> Self {
        Self::Failed(Failure::Engine {
            message: message.to_string(),
        })
    }

    fn of(self, metric: &str) -> MetricError {
        let metric = metric.to_owned();
        match self {
            Self::NotApplicable(reason) => MetricError::NotApplicable { metric, reason },
            Self::Failed(failure) => MetricError::Failed { metric, failure },
        }
    }
}

impl Supernet {
    /// The supernet of `space` whose weights are in `checkpoint`; `file` is what it is called, and `hash` that of its
    /// bytes.
    ///
    /// # Errors
    /// [`SupernetError`].
    pub fn open(
        space: &DesignSpace,
        checkpoint: Checkpoint,
        file: &str,
        hash: &str,
        options: Options,
    ) -> Result<Self, SupernetError> {
        let broken = checkpoint.keys().find(|key| {
            let tensor = checkpoint.get(key);
            !tensor.is_some_and(blocklens_core::checkpoint::Tensor::is_finite)
        });
        if let Some(key) = broken {
            return Err(SupernetError::NotFinite(key.to_owned()));
        }
        // Whatever does not fit is found now, and not for every architecture.
        if let Ok(smallest) = space.smallest(space.default_resolution()) {
            Slicer::new(space, &checkpoint)?.slice(&smallest)?;
        }
        let (engine, _) = engine::computing(options.engine.as_deref())?;
        let cache = options.cache.as_ref();
        let cache = cache.map(|cache| Cache::open(&cache.folder, cache.limit));
        let cache = cache.transpose()?.map(Arc::new);
        let sets = Sets::read(&options, space.classes() as usize, cache.as_ref())?;
        let fingerprint = fingerprint(&options, engine.name(), hash, &sets);
        Ok(Self {
            space: space.clone(),
            checkpoint,
            file: file.to_owned(),
            engine,
            sets,
            threads: Threads::new(options.threads),
            options,
            fingerprint,
            known: Mutex::default(),
        })
    }

    /// One of the quantities of a supernet: `accuracy` (top-1), `top5` or `loss`.
    ///
    /// # Errors
    /// [`SupernetError::Quantity`] for another one.
    pub fn metric(self: &Arc<Self>, quantity: &str) -> Result<SupernetMetric, SupernetError> {
        let (of, unit, direction, what) = match quantity {
            "accuracy" => (
                Quantity::Top1,
                "% top-1",
                Direction::HigherIsBetter,
                "Top-1 accuracy",
            ),
            "top5" => (
                Quantity::Top5,
                "% top-5",
                Direction::HigherIsBetter,
                "Top-5 accuracy",
            ),
            "loss" => (
                Quantity::Loss,
                "nats",
                Direction::LowerIsBetter,
                "Mean cross-entropy",
            ),
            _ => return Err(SupernetError::Quantity(quantity.to_owned())),
        };
        Ok(SupernetMetric {
            info: MetricInfo {
                name: format!(
                    "{quantity}@{}#{}-{}",
                    self.file,
                    self.options.split.name(),
                    self.fingerprint
                ),
                unit: unit.to_owned(),
                direction,
                origin: Origin::Measured,
                about: format!("{what} of {}", self.describe()),
            },
            of,
            supernet: Arc::clone(self),
        })
    }

    /// What values are of, in a sentence that goes on after "accuracy of".
    #[must_use]
    pub fn describe(&self) -> String {
        let images = match self.options.split {
            Split::Select => "images for selecting",
            Split::Test => "images for testing",
            Split::All => "images",
        };
        let statistics = match &self.sets.calibrating {
            None => "batch-norm statistics of the supernet".to_owned(),
            Some(set) => format!(
                "batch-norm statistics of each subnet from {} other images in {}, {} at a time, {}",
                set.len(),
                set.root().display(),
                self.options.calibration.batch,
                match self.options.calibration.pooling {
                    Pooling::Total => "pooled with the variance between batches",
                    Pooling::Published => "variances averaged as published",
                }
            ),
        };
        format!(
            "subnets sliced from {} on {} {images} in {}; {statistics}; engine {}.",
            self.file,
            self.sets.counting.len(),
            self.options.images.display(),
            self.engine.name()
        )
    }

    /// The logits of a subnet for every image that counts, under the image's name: for comparing with other programs.
    ///
    /// # Errors
    /// As those of the metrics.
    pub fn logits(&self, arch: &Architecture) -> Result<Vec<(String, Vec<f32>)>, MetricError> {
        let logits = self.logits_of(arch);
        logits.map_err(|trouble| trouble.of("logits"))
    }

    /// What happened besides values: images that were left out.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let sets = [Some(&self.sets.counting), self.sets.calibrating.as_ref()];
        for set in sets.into_iter().flatten() {
            let broken = set.broken();
            if let (Some(first), true) = (broken.first(), self.options.skip_broken) {
                notes.push(format!(
                    "{} of {} images in {} cannot be read and were left out, the first of them {first}",
                    broken.len(),
                    set.len(),
                    set.root().display()
                ));
            }
        }
        notes.extend(self.sets.counting.cache_problem());
        notes
    }

    /// The scores of an architecture, computed by whoever asks first. An interruption is not remembered: it says
    /// nothing of them.
    fn scores(&self, arch: &Architecture) -> Result<Scores, Trouble> {
        let key = self.space.print(arch);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(known().entry(key.clone()).or_default());
        let scores = cell.get_or_init(|| self.evaluate(arch)).clone();
        if matches!(scores, Err(Trouble::Failed(Failure::NotTried { .. }))) {
            let mut known = known();
            if known.get(&key).is_some_and(|now| Arc::ptr_eq(now, &cell)) {
                known.remove(&key);
            }
        }
        scores
    }

    /// The images of a set that can be read at a size; a failure when some cannot, unless these are to be left out.
    fn usable(&self, set: &Set, size: usize) -> Result<Arc<Vec<usize>>, Trouble> {
        let readable = set.readable(size, &self.threads, &self.options.interrupted);
        let readable = readable.ok_or_else(interrupted)?;
        if let (Some(first), false) = (readable.broken.first(), self.options.skip_broken) {
            return Err(broken_images(&readable.broken, first));
        }
        if readable.whole.is_empty() {
            let root = set.root().display();
            return Err(Trouble::failed(format!("no image in {root} can be read")));
        }
        Ok(Arc::clone(&readable.whole))
    }
}

/// Says nothing about the architecture, and so is not recorded.
fn interrupted() -> Trouble {
    Trouble::Failed(Failure::NotTried {
        message: "interrupted".into(),
    })
}

fn broken_images(all: &[ImageError], first: &ImageError) -> Trouble {
    let others = match all.len() - 1 {
        0 => String::new(),
        n => format!(", and {n} more"),
    };
    Trouble::failed(format!(
        "an image cannot be used: {first}{others}. Repair or remove it, or leave such images out (--skip-broken)"
    ))
}

/// Eight digits that change with everything that values depend on.
fn fingerprint(options: &Options, engine: &str, checkpoint: &str, sets: &Sets) -> String {
    let Options {
        calibration, split, ..
    } = options;
    let mut text = format!(
        "pixels {PIPELINE}\n{checkpoint}\n{engine}\n{}\n{:?} {}\n{}\n",
        split.name(),
        calibration.pooling,
        calibration.batch,
        options.skip_broken
    );
    for set in [Some(&sets.counting), sets.calibrating.as_ref()] {
        text.push_str("images\n");
        let files = set.into_iter().flat_map(Set::files);
        files.for_each(|file| {
            text.push_str(&format!("{} {} {}\n", file.class, file.bytes, file.name));
        });
    }
    let mut digest = files::sha256(text.as_bytes());
    digest.truncate(8);
    digest
}

#[derive(Clone, Copy, Debug)]
enum Quantity {
    Top1,
    Top5,
    Loss,
}

/// One quantity of a supernet's subnets. Several of one supernet share what is computed.
#[derive(Debug)]
pub struct SupernetMetric {
    info: MetricInfo,
    of: Quantity,
    supernet: Arc<Supernet>,
}

impl Metric for SupernetMetric {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn is_costly(&self) -> bool {
        true
    }

    #[allow(clippy::cast_precision_loss)]
    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let scores = self.supernet.scores(arch);
        let scores = scores.map_err(|trouble| trouble.of(&self.info.name))?;
        let images = scores.images as f64;
        let value = match self.of {
            Quantity::Top1 => 100.0 * scores.top1 as f64 / images,
            Quantity::Top5 => 100.0 * scores.top5 as f64 / images,
            Quantity::Loss => scores.loss / images,
        };
        if value.is_finite() {
            return Ok(value);
        }
        Err(MetricError::NotFinite {
            metric: self.info.name.clone(),
            value: value.to_string(),
        })
    }

    fn notes(&self) -> Vec<String> {
        self.supernet.notes()
    }
}

/// The role that a split is.
fn counts(split: Split, role: Role) -> bool {
    match split {
        Split::Select => role == Role::Select,
        Split::Test => role == Role::Test,
        Split::All => role != Role::Calibrate,
    }
}
