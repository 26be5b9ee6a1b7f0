//! Training-free proxies: numbers of an untrained network that are said to order architectures as their accuracy
//! would. They are not accuracies, and docs/proxies.md says how well they do.
//!
//! A [`Trial`] is one draw of weights and images: a graph to run on an engine, its inputs, and the score of what
//! comes out. Nothing is computed here but that score.
//!
//! - [`Proxy::Naswot`]: Mellor, Turner, Storkey, Crowley, *Neural Architecture Search without Training*, ICML 2021
//!   (arXiv 2006.04647). log |det K|, K\[i, j\] = the number of rectified units on which the binary codes of images i
//!   and j agree. The paper's networks have ReLU; here, a unit of any activation function that rectifies (ReLU6,
//!   h-swish, SiLU, GELU, ...) is on when its input is above zero.
//! - [`Proxy::Zen`]: Lin et al., *Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition*, ICCV 2021 (arXiv
//!   2102.01063), Algorithm 1. log E||f(x) - f(x + 0.01 e)|| + sum of log sigma over the batch-norms, f the image
//!   before the global pool of the network without skips and squeeze-and-excitation ([`Network::main_path`]), weights,
//!   x and e from N(0, 1), sigma^2 the mean over channels of the variance that a batch-norm finds in the batch x. The
//!   authors' code takes the sum of absolute changes and running variances instead; the paper's definition is computed
//!   here.

mod score;

use crate::metric::{Direction, MetricInfo, Origin};
use crate::network::onnx::{Batch, ExportError, GraphFile, GraphOptions, Norms, export_graph};
use crate::network::{Init, Network, UnfoldedWeights};
use crate::seed::{Seed, normals};
pub use score::{ScoreError, log_determinant};

/// A training-free proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Log-determinant of the kernel of binary activation codes.
    Naswot,
    /// How much the features change with the image, with batch-norm's scaling undone.
    Zen,
}

/// Size of the perturbation of Zen-score.
const ALPHA: f32 = 0.01;

impl Proxy {
    /// All of them.
    pub const ALL: [Proxy; 2] = [Proxy::Naswot, Proxy::Zen];

    /// The metric's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Naswot => "naswot",
            Self::Zen => "zen",
        }
    }

    /// The proxy of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proxy| proxy.name() == name)
    }

    /// What the metric is, computed as `settings` say by `engine`.
    #[must_use]
    pub fn info(self, settings: &Settings, engine: &str) -> MetricInfo {
        let what = match self {
            Self::Naswot => {
                "NASWOT (Mellor et al., ICML 2021): log-determinant of the agreements of binary activation codes"
            }
            Self::Zen => {
                "Zen-score (Lin et al., ICCV 2021): log of how much features change with the image, batch-norm's \
                 scaling undone"
            }
        };
        let Settings {
            batch,
            repeats,
            seed,
        } = settings;
        MetricInfo {
            name: self.name().to_owned(),
            unit: "proxy score".to_owned(),
            direction: Direction::HigherIsBetter,
            origin: Origin::Proxy,
            about: format!(
                "A training-free proxy, not an accuracy. {what}; untrained weights, {batch} images of Gaussian noise, \
                 mean of {repeats} draws (seed {}), computed with {engine}.",
                seed.0
            ),
        }
    }

    /// How its weights are drawn.
    #[must_use]
    pub fn init(self) -> Init {
        match self {
            Self::Naswot => Init::PyTorch,
            Self::Zen => Init::Gaussian,
        }
    }
}

/// How a proxy is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Images; at least 2 for NASWOT.
    pub batch: u32,
    /// Draws of weights and images whose mean is the value.
    pub repeats: u32,
    /// Seed of the draws.
    pub seed: Seed,
}

impl Default for Settings {
    /// 16 images, as the authors of Zen-score take, once.
    fn default() -> Self {
        Self {
            batch: 16,
            repeats: 1,
            seed: Seed(1),
        }
    }
}

/// One draw of a proxy: what to run, and what comes of it.
#[derive(Clone, Debug)]
pub struct Trial {
    proxy: Proxy,
    graph: GraphFile,
    shape: [usize; 4],
    inputs: Vec<Vec<f32>>,
}

impl Trial {
    /// The draw with this index. Images, and the weights of equal layers at equal places, are the same for all
    /// architectures.
    ///
    /// # Errors
    /// [`ExportError::OneImage`] when a block of the user's own takes no batch.
    pub fn draw(
        proxy: Proxy,
        network: &Network,
        epsilon: f64,
        settings: &Settings,
        index: u32,
    ) -> Result<Self, ExportError> {
        let seed = settings.seed.stream(proxy.name()).index(u64::from(index));
        let network = match proxy {
            Proxy::Naswot => network.clone(),
            Proxy::Zen => network.main_path(),
        };
        let init = proxy.init();
        let weights = UnfoldedWeights::initial(&network, init, epsilon, seed.stream("weights"));
        let one = usize::try_from(network.input().elements()).unwrap_or(usize::MAX);
        let noise = |name| {
            let count = one.saturating_mul(settings.batch as usize);
            normals(count, &mut seed.stream(name).rng())
        };
        let images = noise("images");
        let change = match proxy {
            Proxy::Naswot => Vec::new(),
            Proxy::Zen => noise("change"),
        };
        Self::new(proxy, &network, &weights, images, &change)
    }

    /// With these weights and images (as many as there are); Zen-score adds 0.01 times `change` to them, and is that of
    /// the network as it is given.
    ///
    /// # Errors
    /// [`ExportError`] when weights and network do not belong together, or a block of the user's own takes
    /// no batch.
    pub fn new(
        proxy: Proxy,
        network: &Network,
        weights: &UnfoldedWeights,
        images: Vec<f32>,
        change: &[f32],
    ) -> Result<Self, ExportError> {
        let shape = network.input();
        let dims = [shape.channels, shape.height, shape.width].map(|d| d as usize);
        let count = images.len() / dims.iter().product::<usize>().max(1);
        let options = GraphOptions {
            batch: Batch::Fixed(u32::try_from(count).unwrap_or(u32::MAX)),
            norms: Norms::Batch {
                shown: proxy == Proxy::Zen,
            },
            tensors: Vec::new(),
            codes: proxy == Proxy::Naswot,
        };
        let mut inputs = vec![images];
        if proxy == Proxy::Zen {
            let changed = inputs[0].iter().zip(change).map(|(x, e)| x + ALPHA * e);
            let changed = changed.collect();
            inputs.push(changed);
        }
        Ok(Self {
            proxy,
            graph: export_graph(network, weights, &options, proxy.name())?,
            shape: [count, dims[0], dims[1], dims[2]],
            inputs,
        })
    }

    /// The graph to run, on each of the inputs.
    #[must_use]
    pub fn graph(&self) -> &GraphFile {
        &self.graph
    }

    /// Images, channels, rows and columns of an input.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// What to run the graph on, one after the other.
    #[must_use]
    pub fn inputs(&self) -> &[Vec<f32>] {
        &self.inputs
    }

    /// The score, from the graph's outputs for each of the inputs.
    ///
    /// # Errors
    /// [`ScoreError`] when the outputs give no finite number.
    pub fn score(&self, outputs: &[Vec<Vec<f32>>]) -> Result<f64, ScoreError> {
        match (self.proxy, outputs) {
            (Proxy::Naswot, [codes]) => score::naswot(self.shape[0], &self.graph.outputs, codes),
            (Proxy::Zen, [clean, changed]) => {
                score::zen(self.shape[0], &self.graph.outputs, clean, changed)
            }
            _ => Err(ScoreError::Runs {
                expected: self.inputs.len(),
                found: outputs.len(),
            }),
        }
    }
}
