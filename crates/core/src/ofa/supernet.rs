//! Subnets sliced from a supernet's checkpoint, as `get_active_subnet(preserve_weight=True)` of the `ofa`
//! package slices them: the first channels of every tensor (the package sorts them by importance), depthwise
//! kernels shrunk step by step through the supernet's transformation matrices, the first layers of every unit.

use std::collections::BTreeMap;

use super::{OfaLayout, OfaNetwork, RESNET_STEM};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::network::{
    BatchNorm, Bias, Conv, Network, Node, NodeWeights, Op, Origin, UnfoldedWeights, Weights,
};
use crate::space::{Architecture, DesignSpace, Placement};

/// Why a checkpoint does not give a subnet its weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The space's file does not say which supernet of the `ofa` package it corresponds to.
    #[error("`{0}` has no [ofa] table that says which supernet its checkpoints are of")]
    NoOfa(String),
    /// The supernet has no counterpart of an operator.
    #[error(
        "{class} has no counterpart of `{node}`: the space differs from the supernet in its [ofa] table"
    )]
    NoCounterpart {
        /// The supernet's class.
        class: &'static str,
        /// The operator.
        node: String,
    },
    /// A tensor that an operator needs is not in the checkpoint.
    #[error("the checkpoint has no `{key}`, which `{node}` \
        needs{}", nearest.as_ref().map_or_else(String::new, |n| format!(" (it has `{n}`)")))]
    Missing {
        /// The tensor's key, in its shortest spelling.
        key: String,
        /// The operator.
        node: String,
        /// The most similar key that there is.
        nearest: Option<String>,
    },
    /// A tensor is smaller than what is to be sliced from it, or has another form.
    #[error(
        "`{key}` has shape {found:?}, too small for the {needed:?} that `{node}` needs: the checkpoint is of a \
         narrower supernet (see --width)"
    )]
    Shape {
        /// The tensor's key.
        key: String,
        /// The operator.
        node: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape to slice.
        needed: Vec<usize>,
    },
    /// A tensor holds a number that is not finite, or a negative variance.
    #[error(
        "`{key}` holds NaN, infinite or (a variance) negative numbers: the checkpoint is broken"
    )]
    Broken {
        /// The tensor's key.
        key: String,
    },
}

/// A supernet's weights, ready to be sliced.
#[derive(Clone, Debug)]
pub struct Supernet<'a> {
    space: &'a DesignSpace,
    layout: &'a OfaLayout,
    /// By the shortest spelling of the key.
    tensors: BTreeMap<String, &'a Tensor>,
}

impl<'a> Supernet<'a> {
    /// The weights of `space`'s supernet.
    ///
    /// # Errors
    /// [`SliceError::NoOfa`] when the space's file has no `[ofa]` table.
    pub fn new(space: &'a DesignSpace, checkpoint: &'a Checkpoint) -> Result<Self, SliceError> {
        let layout = space.ofa();
        let layout = layout.ok_or_else(|| SliceError::NoOfa(space.name().to_owned()))?;
        let keys = checkpoint.keys();
        let tensors = keys.filter_map(|key| Some((short_key(key), checkpoint.get(key)?)));
        Ok(Self {
            space,
            layout,
            tensors: tensors.collect(),
        })
    }

    /// The weights of the network of `arch`, batch-norm folded in.
    ///
    /// # Errors
    /// [`SliceError`] when a tensor is missing, too small or broken.
    pub fn slice(&self, arch: &Architecture) -> Result<(Network, Weights), SliceError> {
        let (network, weights) = self.slice_unfolded(arch)?;
        Ok((network, weights.fold()))
    }

    /// As [`Supernet::slice`], with the batch-norms apart. Their statistics are the supernet's own, which are
    /// not those of the subnet.
    ///
    /// # Errors
    /// As [`Supernet::slice`].
    pub fn slice_unfolded(
        &self,
        arch: &Architecture,
    ) -> Result<(Network, UnfoldedWeights), SliceError> {
        let network = self.space.network(arch);
        let mut fixed = FixedNames::new(self.layout.network);
        let mut norms = BTreeMap::new();
        let mut weights = Vec::with_capacity(network.nodes().len());
        for (index, node) in network.nodes().iter().enumerate() {
            weights.push(match &node.op {
                Op::Conv(conv) => {
                    let name = self.name(node, &mut fixed)?;
                    let filters = self.conv(node, conv, &name)?;
                    if conv.bias == Bias::BatchNorm {
                        let norm = self.batch_norm(node, &format!("{name}.bn"), conv)?;
                        norms.insert(index, norm);
                    }
                    Some(filters)
                }
                Op::Linear { inputs, outputs } => {
                    let shape = [*outputs as usize, *inputs as usize];
                    Some(self.linear(node, shape)?)
                }
                _ => None,
            });
        }
        let weights = UnfoldedWeights::new(Weights::from_nodes(weights), norms);
        Ok((network, weights))
    }

    /// What the supernet calls the layer that a convolution belongs to.
    fn name(&self, node: &Node, fixed: &mut FixedNames) -> Result<String, SliceError> {
        let part = node.name.split_once('.').map_or("", |(_, part)| part);
        let name = match node.origin {
            Origin::Fixed => fixed.next(part),
            Origin::Choice(placement, _) => {
                let part = part.split_once('.').map_or("", |(_, part)| part);
                self.block_name(placement, part)
            }
        };
        name.ok_or_else(|| SliceError::NoCounterpart {
            class: match self.layout.network {
                OfaNetwork::MobileNetV3 => "OFAMobileNetV3",
                OfaNetwork::ProxylessNas => "OFAProxylessNASNets",
                OfaNetwork::ResNets => "OFAResNets",
            },
            node: node.name.clone(),
        })
    }

    fn block_name(&self, placement: Placement, part: &str) -> Option<String> {
        let Placement { unit, layer } = placement;
        if self.layout.network == OfaNetwork::ResNets {
            let name = match (unit, part) {
                (0 | 2, "conv") => return Some(format!("input_stem.{unit}")),
                (1, "conv") => return Some("input_stem.1.conv".to_owned()),
                (_, "reduce") => "conv1",
                (_, "spatial") => "conv2",
                (_, "expand") => "conv3",
                (_, "shortcut") => "downsample",
                _ => return None,
            };
            let stage = unit.checked_sub(RESNET_STEM)?;
            let before: usize = self.layout.layers.get(..stage)?.iter().sum();
            return Some(format!("blocks.{}.{name}", before + layer));
        }
        // The first block is fixed.
        let before: usize = self.layout.layers.get(..unit)?.iter().sum();
        Some(format!(
            "blocks.{}.conv.{}",
            1 + before + layer,
            mbconv_part(part)?
        ))
    }

    fn tensor(&self, key: &str, node: &Node) -> Result<&'a Tensor, SliceError> {
        let found = self.tensors.get(key).copied();
        let tensor = found.ok_or_else(|| SliceError::Missing {
            key: key.to_owned(),
            node: node.name.clone(),
            nearest: self.nearest(key),
        })?;
        if tensor.is_finite() {
            Ok(tensor)
        } else {
            Err(SliceError::Broken {
                key: key.to_owned(),
            })
        }
    }

    fn nearest(&self, key: &str) -> Option<String> {
        let similar = |k: &&String| (strsim::jaro_winkler(k, key) * 1e6) as u64;
        self.tensors.keys().max_by_key(similar).cloned()
    }

    fn conv(&self, node: &Node, conv: &Conv, name: &str) -> Result<NodeWeights, SliceError> {
        let plain = conv.bias == Bias::Plain;
        let key = if plain {
            format!("{name}.weight")
        } else {
            format!("{name}.conv.weight")
        };
        let weight = self.filters(node, conv, &key)?;
        let bias = if plain {
            let channels = conv.out_channels as usize;
            self.vector(node, &format!("{name}.bias"), channels)?
        } else {
            Vec::new()
        };
        Ok(NodeWeights { weight, bias })
    }

    /// The active part of a convolution's filters: output channels, input channels per group, kernel, kernel.
    fn filters(&self, node: &Node, conv: &Conv, key: &str) -> Result<Vec<f32>, SliceError> {
        let tensor = self.tensor(key, node)?;
        let needed = conv.weight_shape().map(|d| d as usize);
        let wrong = || SliceError::Shape {
            key: key.to_owned(),
            node: node.name.clone(),
            found: tensor.shape().to_vec(),
            needed: needed.to_vec(),
        };
        let &[outputs, inputs, rows, columns] = tensor.shape() else {
            return Err(wrong());
        };
        let [out, per_group, kernel, _] = needed;
        let fits = out <= outputs && per_group <= inputs && rows == columns && kernel <= rows;
        if !fits || (rows - kernel) % 2 == 1 {
            return Err(wrong());
        }
        let mut filters = Vec::with_capacity(out * per_group * rows * rows);
        for output in tensor.values().chunks_exact(inputs * rows * rows).take(out) {
            filters.extend_from_slice(&output[..per_group * rows * rows]);
        }
        let transforms = key.strip_suffix("weight").unwrap_or(key);
        self.shrink(node, transforms, filters, rows, kernel)
    }

    /// Shrinks square filters from side `from` to side `to`, as `DynamicSeparableConv2d` does: where the
    /// supernet has a matrix, the centre is cut out and multiplied by it; else it is only cut out.
    fn shrink(
        &self,
        node: &Node,
        prefix: &str,
        mut filters: Vec<f32>,
        from: usize,
        to: usize,
    ) -> Result<Vec<f32>, SliceError> {
        let mut side = from;
        while side > to {
            let smaller = (to..side).rev();
            let key = |smaller: usize| format!("{prefix}{side}to{smaller}_matrix");
            let step = smaller
                .clone()
                .find(|s| self.tensors.contains_key(&key(*s)));
            let target = step.unwrap_or(to);
            filters = centres(&filters, side, target);
            if step.is_some() {
                let key = key(target);
                let matrix = self.tensor(&key, node)?;
                let size = target * target;
                if matrix.shape() != [size, size] {
                    return Err(SliceError::Shape {
                        key,
                        node: node.name.clone(),
                        found: matrix.shape().to_vec(),
                        needed: vec![size, size],
                    });
                }
                filters = transformed(&filters, matrix.values(), size);
            }
            side = target;
        }
        Ok(filters)
    }

    /// The first `length` numbers of a vector.
    fn vector(&self, node: &Node, key: &str, length: usize) -> Result<Vec<f32>, SliceError> {
        let tensor = self.tensor(key, node)?;
        match tensor.shape() {
            [found] if *found >= length => Ok(tensor.values()[..length].to_vec()),
            found => Err(SliceError::Shape {
                key: key.to_owned(),
                node: node.name.clone(),
                found: found.to_vec(),
                needed: vec![length],
            }),
        }
    }

    fn batch_norm(&self, node: &Node, name: &str, conv: &Conv) -> Result<BatchNorm, SliceError> {
        let channels = conv.out_channels as usize;
        let vector = |part: &str| self.vector(node, &format!("{name}.{part}"), channels);
        let variance = vector("running_var")?;
        if variance.iter().any(|v| *v < 0.0) {
            return Err(SliceError::Broken {
                key: format!("{name}.running_var"),
            });
        }
        Ok(BatchNorm {
            scale: vector("weight")?,
            shift: vector("bias")?,
            mean: vector("running_mean")?,
            variance,
            epsilon: self.space.batch_norm_epsilon(),
        })
    }

    fn linear(
        &self,
        node: &Node,
        [outputs, inputs]: [usize; 2],
    ) -> Result<NodeWeights, SliceError> {
        let key = "classifier.linear.weight";
        let tensor = self.tensor(key, node)?;
        match tensor.shape() {
            [out, columns] if *out == outputs && *columns >= inputs => {
                let rows = tensor.values().chunks_exact(*columns);
                Ok(NodeWeights {
                    weight: rows.flat_map(|row| &row[..inputs]).copied().collect(),
                    bias: self.vector(node, "classifier.linear.bias", outputs)?,
                })
            }
            found => Err(SliceError::Shape {
                key: key.to_owned(),
                node: node.name.clone(),
                found: found.to_vec(),
                needed: vec![outputs, inputs],
            }),
        }
    }
}

impl Supernet<'_> {
    /// Whether a checkpoint is of a supernet (or a network) of the package, whatever its space: it has blocks and a
    /// classifier.
    #[must_use]
    pub fn is_in(checkpoint: &Checkpoint) -> bool {
        let has = |start: &str| {
            checkpoint
                .keys()
                .any(|key| short_key(key).starts_with(start))
        };
        has("blocks.0.") && has("classifier.linear.")
    }
}

/// What the package calls the convolutions outside units, in the order in which they come.
struct FixedNames {
    stem: std::vec::IntoIter<&'static str>,
    head: std::vec::IntoIter<&'static str>,
}

impl FixedNames {
    fn new(network: OfaNetwork) -> Self {
        let (stem, head) = match network {
            OfaNetwork::MobileNetV3 => (
                vec!["first_conv"],
                vec!["final_expand_layer", "feature_mix_layer"],
            ),
            OfaNetwork::ProxylessNas => (vec!["first_conv"], vec!["feature_mix_layer"]),
            OfaNetwork::ResNets => (Vec::new(), Vec::new()),
        };
        Self {
            stem: stem.into_iter(),
            head: head.into_iter(),
        }
    }

    /// The name of the next plain convolution, or of a part of the fixed block.
    fn next(&mut self, part: &str) -> Option<String> {
        if part == "conv" {
            return self
                .stem
                .next()
                .or_else(|| self.head.next())
                .map(str::to_owned);
        }
        Some(format!("blocks.0.conv.{}", mbconv_part(part)?))
    }
}

/// What the package calls a part of an inverted bottleneck.
fn mbconv_part(part: &str) -> Option<&'static str> {
    Some(match part {
        "expand" => "inverted_bottleneck",
        "depthwise" => "depth_conv",
        "se.reduce" => "depth_conv.se.fc.reduce",
        "se.expand" => "depth_conv.se.fc.expand",
        "project" => "point_linear",
        _ => return None,
    })
}

/// The shortest of the spellings that the package's classes and versions have for one tensor.
fn short_key(key: &str) -> String {
    key.replace(".mobile_inverted_conv.", ".conv.")
        .replace(".bn.bn.", ".bn.")
        .replace(".conv.conv.weight", ".conv.weight")
        .replace(".linear.linear.", ".linear.")
}

/// The centres, of side `to`, of square filters of side `from`.
fn centres(filters: &[f32], from: usize, to: usize) -> Vec<f32> {
    let start = (from - to) / 2;
    let centre = |filter: &[f32]| -> Vec<f32> {
        let rows = filter.chunks_exact(from).skip(start).take(to);
        rows.flat_map(|row| &row[start..start + to])
            .copied()
            .collect()
    };
    filters.chunks_exact(from * from).flat_map(centre).collect()
}

/// Every filter, as a vector of `size` numbers, multiplied by the transposed matrix (`F.linear`).
#[allow(clippy::cast_possible_truncation)] // back to the precision of the weights
fn transformed(filters: &[f32], matrix: &[f32], size: usize) -> Vec<f32> {
    let product = |filter: &[f32], row: &[f32]| {
        let terms = filter.iter().zip(row);
        terms
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>() as f32
    };
    filters
        .chunks_exact(size)
        .flat_map(|filter| {
            matrix
                .chunks_exact(size)
                .map(move |row| product(filter, row))
        })
        .collect()
}
