//! The accuracy predictors that were published with Once-for-All (Cai et al., ICLR 2020), from their checkpoints.

mod features;
mod network;

use crate::checkpoint::{Checkpoint, Tensor};
use crate::metric::{Direction, Metric, MetricError, MetricInfo, Origin};
use crate::space::{Architecture, DesignSpace};
use features::Features;
use network::{Names, Network};

/// A published predictor: what it is for and how its checkpoint is laid out.
struct Published {
    space: &'static str,
    width: f64,
    /// Numbers that its first layer takes.
    inputs: usize,
    features: fn(&DesignSpace) -> Option<Features>,
    names: Names,
}

static PUBLISHED: [Published; 2] = [
    Published {
        space: "ofa-mbv3",
        width: 1.2,
        inputs: 128,
        features: features::mobile,
        names: Names {
            layers: &["0", "2", "4"],
            last: "6.weight",
            offset: "6.bias",
        },
    },
    Published {
        space: "ofa-resnet50",
        width: 1.0,
        inputs: 82,
        features: features::resnet,
        names: Names {
            layers: &["layers.0.0", "layers.1.0", "layers.2.0"],
            last: "layers.3.weight",
            offset: "base_acc",
        },
    },
];

/// ImageNet top-1 in %, as a published predictor has it: `acc_predictor.pth` for OFA-MobileNetV3 at width 1.2, or
/// `ofa_resnet50_acc_predictor.pth` for OFA-ResNet50. The checkpoint says which of them it is.
///
/// Where multipliers of a width give the same channels (the first convolution of OFA-ResNet50), the predictor has two
/// opinions on one network; the first multiplier's counts, as in [`DesignSpace::to_ofa`].
#[derive(Debug)]
pub struct AccuracyPredictor {
    info: MetricInfo,
    space: DesignSpace,
    network: Network,
}

impl AccuracyPredictor {
    /// The predictor in `checkpoint` as the metric called `name`, for a built-in space that it was made for or a part
    /// of that space.
    ///
    /// # Errors
    /// [`MetricError::NotApplicable`] when the checkpoint is not one of the published predictors, or the space is not
    /// one that it is for.
    pub fn new(
        name: &str,
        space: &DesignSpace,
        checkpoint: &Checkpoint,
    ) -> Result<Self, MetricError> {
        let refuse = |reason: String| MetricError::NotApplicable {
            metric: name.to_owned(),
            reason,
        };
        let published = which(checkpoint).map_err(refuse)?;
        check_space(published, space).map_err(refuse)?;
        let features = (published.features)(space)
            .ok_or_else(|| refuse(format!("{} has blocks that it does not know", space.name())))?;
        let network = Network::new(checkpoint, &published.names, &features)
            .map_err(|reason| refuse(format!("of its checkpoint, {reason}")))?;
        let info = MetricInfo {
            name: name.to_owned(),
            unit: "% top-1".into(),
            direction: Direction::HigherIsBetter,
            origin: Origin::Surrogate,
            about: "ImageNet top-1 as the accuracy predictor published with Once-for-All has it; not a measurement."
                .into(),
        };
        Ok(Self {
            info,
            space: space.clone(),
            network,
        })
    }

    /// Whether a checkpoint is one of the predictors, for whatever space.
    ///
    /// # Errors
    /// What it is instead, as a sentence about its tensors.
    pub fn recognise(checkpoint: &Checkpoint) -> Result<(), String> {
        which(checkpoint).map(|_| ())
    }

    fn refused(&self, arch: &Architecture) -> MetricError {
        let known = self.space.resolutions().iter();
        let known: Vec<String> = known
            .filter(|r| self.network.knows(**r))
            .map(ToString::to_string)
            .collect();
        MetricError::NotApplicable {
            metric: self.info.name.clone(),
            reason: format!(
                "resolution {} is not one of {}, which the predictor was trained at (--resolution {})",
                arch.resolution(),
                known.join(", "),
                known.last().map_or("", String::as_str)
            ),
        }
    }

    fn percent(&self, output: f64) -> Result<f64, MetricError> {
        let value = 100.0 * output;
        if value.is_finite() {
            return Ok(value);
        }
        Err(MetricError::NotFinite {
            metric: self.info.name.clone(),
            value: value.to_string(),
        })
    }
}

/// The predictor that a checkpoint is, by the names and shapes of its tensors.
fn which(checkpoint: &Checkpoint) -> Result<&'static Published, String> {
    let named = |p: &&Published| checkpoint.get(p.names.last).is_some();
    let published = PUBLISHED.iter().find(named).ok_or_else(|| {
        let some: Vec<&str> = checkpoint.keys().take(3).collect();
        format!(
            "the checkpoint is none of the predictors published with Once-for-All, and no supernet: it has {} tensors \
             ({}, ...)",
            checkpoint.len(),
            some.join(", ")
        )
    })?;
    let first = published.names.layers.first().copied().unwrap_or_default();
    let first = format!("{first}.weight");
    match checkpoint.get(&first).map(Tensor::shape) {
        Some([_, inputs]) if *inputs != published.inputs => Err(other_inputs(&first, *inputs)),
        _ => Ok(published),
    }
}

/// What is said of a predictor that takes another number of inputs.
fn other_inputs(tensor: &str, inputs: usize) -> String {
    /// Kernels and expansions of OFA-MobileNetV3's 20 layers, one input for each choice.
    const BLOCKS: usize = 120;
    let guess = match inputs.checked_sub(BLOCKS) {
        Some(resolutions @ 1..=40) => format!(
            " {inputs} are the kernels and expansions of 20 layers and {resolutions} resolutions, and the file does \
             not say which."
        ),
        _ => String::new(),
    };
    format!(
        "it is a predictor with {inputs} inputs (`{tensor}`), and those published with Once-for-All have 128 \
         (ofa-mbv3) and 82 (ofa-resnet50): what its inputs stand for is not known.{guess} Evaluate it with a program \
         (NAME@program:COMMAND), or write \
         its values to a table (COLUMN@FILE.csv)"
    )
}

fn check_space(published: &Published, space: &DesignSpace) -> Result<(), String> {
    let whole =
        DesignSpace::builtin(published.space, Some(published.width)).map_err(|e| e.to_string())?;
    #[allow(clippy::float_cmp)] // decimals from files and options
    let other_width = space.name() == published.space && space.width() != published.width;
    space.check_part_of(&whole).map_err(|what| {
        let why = if other_width {
            format!("--width {} chooses it", published.width)
        } else {
            what
        };
        format!(
            "it is for the built-in {} at width {} and its parts, and not for this {} at width {}: {why}",
            published.space,
            published.width,
            space.name(),
            space.width()
        )
    })
}

impl Metric for AccuracyPredictor {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let mut values = self.evaluate_many(std::slice::from_ref(arch));
        values.pop().unwrap_or_else(|| Err(self.refused(arch)))
    }

    fn evaluate_many(&self, archs: &[Architecture]) -> Vec<Result<f64, MetricError>> {
        let knows = |arch: &&Architecture| self.network.knows(arch.resolution());
        let known: Vec<&Architecture> = archs.iter().filter(knows).collect();
        let mut outputs = self.network.outputs(&known).into_iter();
        let mut output = |arch| knows(&arch).then(|| outputs.next()).flatten();
        archs
            .iter()
            .map(|arch| match output(arch) {
                Some(output) => self.percent(output),
                None => Err(self.refused(arch)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
