//! The reference executor: what a network computes, in plain f32 and without an engine. It is the oracle of the
//! engines and finds the ranges of activations for quantisation; engines are many times faster.

use nalgebra::{DMatrixView, DMatrixViewMut};
use statrs::function::erf::erf;

use super::{Conv, Network, Node, NodeWeights, Op, Shape, TensorId, Weights, padding};
use crate::space::Activation;

/// Why a network cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The image has another size.
    #[error("the image has {found} numbers where the network takes {expected}")]
    Image {
        /// Numbers there are.
        found: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// A block of the user's own: only engines run these.
    #[error("node `{node}` is a block of your own, which only an engine can run")]
    Fragment {
        /// The node's name.
        node: String,
    },
    /// The weights are another network's.
    #[error("node `{node}` has no weights, or too few: these weights belong to another network")]
    Weights {
        /// The node's name.
        node: String,
    },
}

/// The network's output for one image (channels, rows, columns; row-major).
///
/// # Errors
/// [`RunError`] when image or weights do not fit the network.
pub fn run(network: &Network, weights: &Weights, image: &[f32]) -> Result<Vec<f32>, RunError> {
    run_visiting(network, weights, image, &mut |_, _| {})
}

/// As [`run`], showing every tensor to `visit` when it has been computed: 0 is the image.
///
/// # Errors
/// As [`run`].
pub fn run_visiting(
    network: &Network,
    weights: &Weights,
    image: &[f32],
    visit: &mut dyn FnMut(TensorId, &[f32]),
) -> Result<Vec<f32>, RunError> {
    let expected = size(network.input());
    if image.len() != expected {
        let found = image.len();
        return Err(RunError::Image { found, expected });
    }
    let last_use = last_uses(network);
    let mut tensors: Vec<Option<Vec<f32>>> = vec![Some(image.to_vec())];
    visit(0, image);
    for (index, node) in network.nodes().iter().enumerate() {
        let inputs: Vec<(&[f32], Shape)> = node
            .inputs
            .iter()
            .map(|&t| (tensors[t].as_deref().unwrap_or_default(), network.shape(t)))
            .collect();
        let output = compute(node, &inputs, weights.of(index))?;
        visit(index + 1, &output);
        for &tensor in &node.inputs {
            if last_use[tensor] == index {
                tensors[tensor] = None;
            }
        }
        tensors.push(Some(output));
    }
    Ok(tensors.pop().flatten().unwrap_or_default())
}

fn size(shape: Shape) -> usize {
    usize::try_from(shape.elements()).unwrap_or(usize::MAX)
}

/// For every tensor, the last node that reads it.
fn last_uses(network: &Network) -> Vec<usize> {
    let mut last = vec![usize::MAX; network.nodes().len() + 1];
    for (index, node) in network.nodes().iter().enumerate() {
        node.inputs.iter().for_each(|&tensor| last[tensor] = index);
    }
    last
}

fn compute(
    node: &Node,
    inputs: &[(&[f32], Shape)],
    weights: Option<&NodeWeights>,
) -> Result<Vec<f32>, RunError> {
    let missing = || RunError::Weights {
        node: node.name.clone(),
    };
    let (x, shape) = inputs[0];
    Ok(match &node.op {
        Op::Conv(conv) => {
            let weights = weights.filter(|w| fits_conv(conv, w)).ok_or_else(missing)?;
            convolution(conv, weights, x, shape, node.output)
        }
        Op::Linear { inputs, outputs } => {
            let (inputs, outputs) = (*inputs as usize, *outputs as usize);
            let fits =
                |w: &&NodeWeights| w.weight.len() == inputs * outputs && w.bias.len() == outputs;
            let weights = weights.filter(fits).ok_or_else(missing)?;
            let rows = weights.weight.chunks_exact(inputs);
            rows.zip(&weights.bias)
                .map(|(row, bias)| dot(row, x) + bias)
                .collect()
        }
        Op::Activation(function) => x
            .iter()
            .map(|&value| activation(*function, value))
            .collect(),
        Op::GlobalAveragePool => planes(x, shape).map(mean).collect(),
        Op::MaxPool { kernel, stride } => {
            let window = Window::padded(*kernel, *stride, shape);
            pooled(x, shape, node.output, window, |inside| {
                inside.fold(f32::NEG_INFINITY, f32::max)
            })
        }
        Op::AveragePool { size } => {
            let window = Window {
                kernel: *size,
                stride: *size,
                pad: [0; 2],
            };
            pooled(x, shape, node.output, window, |inside| {
                let (sum, count) =
                    inside.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
                sum / count
            })
        }
        Op::Fragment(_) => {
            return Err(RunError::Fragment {
                node: node.name.clone(),
            });
        }
        Op::Add => x.iter().zip(inputs[1].0).map(|(a, b)| a + b).collect(),
        Op::Scale => {
            let factors = inputs[1].0.iter();
            let scaled = planes(x, shape).zip(factors);
            scaled
                .flat_map(|(plane, factor)| plane.iter().map(move |value| value * factor))
                .collect()
        }
    })
}

/// The channels of a tensor.
fn planes(x: &[f32], shape: Shape) -> std::slice::ChunksExact<'_, f32> {
    x.chunks_exact((shape.height as usize * shape.width as usize).max(1))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[allow(clippy::cast_precision_loss)]
fn mean(plane: &[f32]) -> f32 {
    plane.iter().sum::<f32>() / plane.len() as f32
}

/// A non-linearity at one point.
#[must_use]
pub fn activation(function: Activation, x: f32) -> f32 {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let hard_sigmoid = |x: f32| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match function {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hswish => x * hard_sigmoid(x),
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => gelu(x),
        Activation::Hsigmoid => hard_sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
    }
}

#[allow(clippy::cast_possible_truncation)]
fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (x / 2.0 * (1.0 + erf(x / std::f64::consts::SQRT_2))) as f32
}

fn fits_conv(conv: &Conv, weights: &NodeWeights) -> bool {
    let needed: u64 = conv.weight_shape().iter().map(|&d| u64::from(d)).product();
    let biases = weights.bias.is_empty() || weights.bias.len() == conv.out_channels as usize;
    weights.weight.len() as u64 == needed && biases
}

#[derive(Clone, Copy)]
struct Window {
    kernel: u32,
    stride: u32,
    /// Padding before rows and before columns.
    pad: [u32; 2],
}

impl Window {
    /// A window padded as convolutions are.
    fn padded(kernel: u32, stride: u32, input: Shape) -> Self {
        Self {
            kernel,
            stride,
            pad: [input.height, input.width].map(|side| padding(kernel, stride, side)[0]),
        }
    }

    /// The rows that row `at` of the output sees, and the offset in the window of the first.
    fn rows(self, at: u32, input: Shape) -> (std::ops::Range<usize>, usize) {
        self.span(at, input.height, self.pad[0])
    }

    /// The columns that column `at` of the output sees, and the offset in the window of the first.
    fn columns(self, at: u32, input: Shape) -> (std::ops::Range<usize>, usize) {
        self.span(at, input.width, self.pad[1])
    }

    fn span(self, at: u32, length: u32, pad: u32) -> (std::ops::Range<usize>, usize) {
        let start = at * self.stride;
        let (first, skipped) = (start.saturating_sub(pad), pad.saturating_sub(start));
        let end = (start + self.kernel).saturating_sub(pad).min(length);
        (first.min(end) as usize..end as usize, skipped as usize)
    }
}

fn pooled(
    x: &[f32],
    input: Shape,
    output: Shape,
    window: Window,
    reduce: impl Fn(&mut dyn Iterator<Item = f32>) -> f32,
) -> Vec<f32> {
    let width = input.width as usize;
    let mut pooled = Vec::with_capacity(size(output));
    for plane in planes(x, input) {
        for row in 0..output.height {
            let (rows, _) = window.rows(row, input);
            for column in 0..output.width {
                let (columns, _) = window.columns(column, input);
                let cells = rows
                    .clone()
                    .flat_map(|r| plane[r * width..][columns.clone()].iter().copied());
                pooled.push(reduce(&mut { cells }));
            }
        }
    }
    pooled
}

fn convolution(
    conv: &Conv,
    weights: &NodeWeights,
    x: &[f32],
    input: Shape,
    output: Shape,
) -> Vec<f32> {
    let mut y = vec![0.0; size(output)];
    let area = (output.height * output.width) as usize;
    let groups = conv.groups as usize;
    let [outputs, per_group, kernel, _] = conv.weight_shape().map(|d| d as usize);
    let (in_area, window) = (
        (input.height * input.width) as usize,
        Window::padded(conv.kernel, conv.stride, input),
    );
    let filters = per_group * kernel * kernel;
    let group_outputs = outputs / groups;
    let mut columns = Vec::new();
    for group in 0..groups {
        let x = &x[group * per_group * in_area..][..per_group * in_area];
        let w = &weights.weight[group * group_outputs * filters..][..group_outputs * filters];
        let y = &mut y[group * group_outputs * area..][..group_outputs * area];
        if group_outputs == 1 && per_group == 1 {
            depthwise(x, w, y, input, output, window);
            continue;
        }
        let patches: &[f32] = if kernel == 1 && conv.stride == 1 {
            x
        } else {
            columns.clear();
            unfold(x, input, output, window, &mut columns);
            &columns
        };
        // Row-major matrices are the transposes of nalgebra's column-major ones.
        let patches = DMatrixView::from_slice(patches, area, filters);
        let w = DMatrixView::from_slice(w, filters, group_outputs);
        DMatrixViewMut::from_slice(y, area, group_outputs).gemm(1.0, &patches, &w, 0.0);
    }
    for (plane, bias) in y.chunks_exact_mut(area.max(1)).zip(&weights.bias) {
        plane.iter_mut().for_each(|value| *value += bias);
    }
    y
}

fn depthwise(x: &[f32], w: &[f32], y: &mut [f32], input: Shape, output: Shape, window: Window) {
    let (width, kernel) = (input.width as usize, window.kernel as usize);
    let mut next = y.iter_mut();
    for row in 0..output.height {
        let (rows, top) = window.rows(row, input);
        for column in 0..output.width {
            let (columns, left) = window.columns(column, input);
            let products = rows.clone().enumerate().map(|(i, r)| {
                dot(
                    &w[(top + i) * kernel + left..],
                    &x[r * width..][columns.clone()],
                )
            });
            if let Some(value) = next.next() {
                *value = products.sum();
            }
        }
    }
}

/// For every input channel and position in the window, what each output position sees there (im2col).
fn unfold(x: &[f32], input: Shape, output: Shape, window: Window, columns: &mut Vec<f32>) {
    let (height, width) = (i64::from(input.height), i64::from(input.width));
    let [top, left] = window.pad.map(i64::from);
    for plane in planes(x, input) {
        for i in 0..i64::from(window.kernel) {
            for j in 0..i64::from(window.kernel) {
                for row in 0..output.height {
                    let r = i64::from(row * window.stride) + i - top;
                    for column in 0..output.width {
                        let c = i64::from(column * window.stride) + j - left;
                        let inside = (0..height).contains(&r) && (0..width).contains(&c);
                        let at = usize::try_from(r * width + c).unwrap_or(0);
                        columns.push(if inside { plane[at] } else { 0.0 });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::space::{classic_space, test_spaces};

    /// The definition of a convolution: six nested loops in f64.
    fn naive_conv(
        conv: &Conv,
        weights: &NodeWeights,
        x: &[f32],
        input: Shape,
        output: Shape,
    ) -> Vec<f64> {
        let [outputs, per_group, kernel, _] = conv.weight_shape();
        let pad = |side: u32| match kernel % 2 {
            1 => i64::from(kernel / 2),
            // What TensorFlow's documentation says of SAME.
            _ => {
                let last = side.div_ceil(conv.stride) * conv.stride - conv.stride;
                (i64::from(last + kernel) - i64::from(side)).max(0) / 2
            }
        };
        let (top, left) = (pad(input.height), pad(input.width));
        let mut y = Vec::new();
        for o in 0..outputs {
            let first = o / (outputs / conv.groups) * per_group;
            for row in 0..output.height {
                for column in 0..output.width {
                    let mut sum = weights.bias.get(o as usize).copied().map_or(0.0, f64::from);
                    for c in 0..per_group {
                        for i in 0..kernel {
                            for j in 0..kernel {
                                let r = i64::from(row * conv.stride + i) - top;
                                let s = i64::from(column * conv.stride + j) - left;
                                let inside = (0..i64::from(input.height)).contains(&r)
                                    && (0..i64::from(input.width)).contains(&s);
                                if inside {
                                    let at = i64::from((first + c) * input.height) + r;
                                    let value = x
                                        [usize::try_from(at * i64::from(input.width) + s).unwrap()];
                                    let w = ((o * per_group + c) * kernel + i) * kernel + j;
                                    sum += f64::from(value) * f64::from(weights.weight[w as usize]);
                                }
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    /// Every convolution and pooling of real networks against their definitions.
    #[test]
    fn operators_equal_their_definitions() {
        let mut seen = std::collections::BTreeSet::new();
        let several = (4..12).map(|seed| (classic_space(), seed));
        for (space, seed) in test_spaces().into_iter().map(|s| (s, 4)).chain(several) {
            let resolution = space.resolutions()[0].min(space.default_resolution());
            let arch = space.sample(resolution, &mut Seed(seed).rng()).unwrap();
            let network = space.network(&arch);
            let weights = Weights::random(&network, Seed(1));
            for (index, node) in network.nodes().iter().enumerate() {
                let shape = network.shape(node.inputs[0]);
                let shape = Shape {
                    height: shape.height.min(9),
                    width: shape.width.min(8),
                    ..shape
                };
                if let Op::Conv(conv) = &node.op {
                    let key = (
                        conv.kernel,
                        conv.stride,
                        conv.groups > 1,
                        shape.height,
                        shape.width,
                    );
                    if !seen.insert(key) {
                        continue;
                    }
                    let output = shape.strided(conv.out_channels, conv.stride);
                    let x = pixels(size(shape));
                    let w = weights.of(index).unwrap();
                    let ours = convolution(conv, w, &x, shape, output);
                    let theirs = naive_conv(conv, w, &x, shape, output);
                    for (a, b) in ours.iter().zip(&theirs) {
                        assert!(
                            (f64::from(*a) - b).abs() < 1e-3 * (1.0 + b.abs()),
                            "{}: {a} {b}",
                            node.name
                        );
                    }
                }
            }
        }
        assert!(seen.len() > 12, "{seen:?}");
        assert!(
            seen.iter().any(|(k, s, ..)| k % 2 == 0 && *s == 1),
            "{seen:?}"
        );
        assert!(
            seen.iter().any(|(k, s, ..)| k % 2 == 0 && *s > 1),
            "{seen:?}"
        );
    }

    fn pixels(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
            .collect()
    }

    #[test]
    fn pooling_takes_what_is_inside() {
        let (input, x) = (
            Shape::square(1, 3),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -9.0],
        );
        let average = |inside: &mut dyn Iterator<Item = f32>| {
            let values: Vec<f32> = inside.collect();
            mean(&values)
        };
        let window = Window {
            kernel: 2,
            stride: 2,
            pad: [0; 2],
        };
        assert_eq!(
            pooled(&x, input, Shape::square(1, 2), window, average),
            [3.0, 4.5, 7.5, -9.0]
        );
        let largest =
            |inside: &mut dyn Iterator<Item = f32>| inside.fold(f32::NEG_INFINITY, f32::max);
        let window = Window::padded(3, 2, input);
        assert_eq!(
            pooled(&x, input, Shape::square(1, 2), window, largest),
            [5.0, 6.0, 8.0, 8.0]
        );
    }

    #[test]
    fn windows_side_by_side_have_no_padding_and_give_what_they_must() {
        assert_eq!(padding(4, 4, 224), [0, 0]);
        assert_eq!(padding(2, 2, 56), [0, 0]);
        assert_eq!(padding(4, 2, 32), [1, 1]);
        assert_eq!(padding(2, 1, 7), [0, 1]);
        for kernel in 1..12 {
            for stride in 1..9 {
                for side in 1..40 {
                    let [before, behind] = padding(kernel, stride, side);
                    let room = side + before + behind - kernel;
                    assert_eq!(room / stride + 1, side.div_ceil(stride));
                    assert!(before < kernel && behind < kernel);
                }
            }
        }
    }

    /// Values of the definition, from Python's `math.erf`.
    #[test]
    fn gelu_is_exact() {
        for (x, expected) in [
            (-3.0, -0.004_049_694),
            (-0.5, -0.154_268_77),
            (0.0, 0.0),
            (0.7, 0.530_625_44),
            (2.0, 1.954_499_7),
        ] {
            let found = activation(Activation::Gelu, x);
            assert!((found - expected).abs() < 1e-6, "{x}: {found}");
        }
    }

    #[test]
    fn tensors_are_shown_in_order_and_misfits_refused() {
        let space = test_spaces().pop().unwrap();
        let network = space.network(&space.smallest(33).unwrap());
        let weights = Weights::random(&network, Seed(2));
        let mut shown = Vec::new();
        let image = pixels(3 * 33 * 33);
        let logits = run_visiting(&network, &weights, &image, &mut |tensor, values| {
            assert_eq!(values.len() as u64, network.shape(tensor).elements());
            shown.push(tensor);
        });
        assert_eq!(logits.unwrap().len(), 7);
        assert_eq!(shown, (0..=network.nodes().len()).collect::<Vec<_>>());
        assert!(
            run(&network, &weights, &image[1..])
                .unwrap_err()
                .to_string()
                .contains("3267")
        );
        let other = space.network(&space.sample(33, &mut Seed(1).rng()).unwrap());
        assert!(run(&other, &weights, &image).is_err());
    }
}
