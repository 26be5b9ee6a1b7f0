//! From a float graph to a full-integer one, by the rules of TFLite's 8-bit quantisation specification.

use super::Calibration;
use super::TfliteError;
use super::graph::{
    Builtin, Content, Data, Element, Graph, Index, Operator, Options, Quantization, Range, Role,
    Tensor,
};

/// Numbers that int8 tells apart, less one.
const STEPS: f32 = 255.0;
/// Largest stored weight: -128 is left out, so that weights are symmetric.
const LARGEST_WEIGHT: f32 = 127.0;
/// Largest stored bias: half of what 32 bits hold, which leaves room for the products.
const LARGEST_BIAS: f32 = 1_073_741_824.0;
/// The scale of a tensor that was zero throughout: one of usual size, since its neighbours' kernels work with
/// quotients of scales.
const SCALE_OF_ZEROS: f32 = 1.0 / 256.0;
/// Largest quotient of input scales and output scale; half of XNNPACK's limit.
const LARGEST_FACTOR: f32 = 128.0;
/// No scale is smaller, so that products of two are numbers.
const SMALLEST_SCALE: f32 = 1e-9;

/// Quantises every activation and constant; input and output stay float, behind QUANTIZE and DEQUANTIZE.
pub(super) fn quantize(graph: Graph, calibration: &Calibration) -> Result<Graph, TfliteError> {
    let mut graph = quantize_all(graph, calibration)?;
    add_borders(&mut graph);
    Ok(graph)
}

/// Quantises every activation and constant, input and output too.
pub(super) fn quantize_all(
    mut graph: Graph,
    calibration: &Calibration,
) -> Result<Graph, TfliteError> {
    let input = graph.input;
    quantize_activation(&mut graph, input, 0.0, calibration)?;
    // In order, so that what an operator takes has its scale before what it makes.
    for number in 0..graph.operators.len() {
        let Operator { inputs, output, .. } = graph.operators[number].clone();
        for index in inputs {
            constant(&mut graph, index)?;
        }
        let least = finest(&graph, &graph.operators[number]);
        quantize_activation(&mut graph, output, least, calibration)?;
    }
    Ok(graph)
}

fn quantize_activation(
    graph: &mut Graph,
    index: Index,
    least: f32,
    calibration: &Calibration,
) -> Result<(), TfliteError> {
    if let Content::Activation { range, .. } = graph.tensors[index].content {
        let quantization = activation(graph, index, range, least, calibration)?;
        graph.tensors[index].quantization = Some(quantization);
        graph.tensors[index].content = Content::Activation {
            element: Element::I8,
            range,
        };
    }
    Ok(())
}

/// The smallest scale that an operator's output may have. Kernels multiply sums by input scales over output
/// scale, and XNNPACK takes no factor from 256 on.
fn finest(graph: &Graph, operator: &Operator) -> f32 {
    let scales = operator.inputs.iter().filter_map(|&index| {
        let tensor = &graph.tensors[index];
        let is_bias = matches!(
            tensor.content,
            Content::Constant {
                role: Role::Bias { .. },
                ..
            }
        );
        let scales = &tensor.quantization.as_ref().filter(|_| !is_bias)?.scales;
        Some(scales.iter().copied().fold(0.0, f32::max))
    });
    let factor: f32 = match operator.code {
        Builtin::Add => scales.fold(0.0, f32::max),
        _ => scales.product(),
    };
    factor / LARGEST_FACTOR
}

fn activation(
    graph: &Graph,
    index: Index,
    range: Range,
    least: f32,
    calibration: &Calibration,
) -> Result<Quantization, TfliteError> {
    let (low, high) = match range {
        Range::Logistic => return Ok(per_tensor(1.0 / 256.0, -128)),
        Range::As(other) => {
            // Operators come in order, so what they take has been quantised before.
            let like = graph.tensors[other].quantization.clone();
            return Ok(like.unwrap_or_else(|| per_tensor(1.0, 0)));
        }
        Range::Fixed(low, high) => (low, high),
        Range::Observed(tensor) => {
            calibration
                .range(tensor)
                .ok_or_else(|| TfliteError::Calibration {
                    tensor: graph.tensors[index].name.clone(),
                })?
        }
    };
    // 0 must be stored exactly: it is what padding adds.
    let (low, high) = (low.min(0.0), high.max(0.0));
    // Divided first: the width of a range may be beyond f32.
    let width = high / STEPS - low / STEPS;
    let scale = if width > 0.0 { width } else { SCALE_OF_ZEROS };
    let scale = scale.max(least).max(SMALLEST_SCALE);
    #[allow(clippy::cast_possible_truncation)] // clamped to eight bits
    let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i64;
    Ok(per_tensor(scale, zero_point))
}

fn per_tensor(scale: f32, zero_point: i64) -> Quantization {
    Quantization {
        scales: vec![scale],
        zero_points: vec![zero_point],
        dimension: 0,
    }
}

fn scale_of(graph: &Graph, index: Index) -> f32 {
    let quantization = graph.tensors[index].quantization.as_ref();
    quantization
        .and_then(|q| q.scales.first())
        .copied()
        .unwrap_or(1.0)
}

/// Quantises a constant by its role; biases follow their weights, which come before them.
fn constant(graph: &mut Graph, index: Index) -> Result<(), TfliteError> {
    let Content::Constant {
        data: Data::F32(values),
        role,
    } = &graph.tensors[index].content
    else {
        return Ok(());
    };
    let (values, role) = (values.clone(), *role);
    let name = &graph.tensors[index].name;
    let lowest = matches!(role, Role::Lowest { .. });
    if !lowest && values.iter().any(|v| !v.is_finite()) {
        return Err(TfliteError::NotFinite {
            tensor: name.clone(),
        });
    }
    let (data, quantization) = match role {
        Role::Sizes => return Ok(()),
        Role::Scalar => {
            let scale = (values[0].abs() / LARGEST_WEIGHT).max(SMALLEST_SCALE);
            (Data::I8(rounded(&values, scale)), per_tensor(scale, 0))
        }
        Role::Lowest { like } => {
            let quantization = graph.tensors[like].quantization.clone();
            (
                Data::I8(vec![i8::MIN]),
                quantization.unwrap_or_else(|| per_tensor(1.0, 0)),
            )
        }
        Role::Weights { dimension } => {
            let least = least_scales(graph, index);
            weights(&graph.tensors[index].shape, &values, dimension, &least)
        }
        Role::Bias { input, weights } => {
            let input = scale_of(graph, input);
            let by_channel = graph.tensors[weights].quantization.as_ref();
            let scales = by_channel.map_or(vec![1.0], |q| q.scales.clone());
            bias(&values, input, &scales)
        }
    };
    graph.tensors[index].content = Content::Constant { data, role };
    graph.tensors[index].quantization = Some(quantization);
    Ok(())
}

/// For every output channel, the smallest scale of weights with which its bias fits into 32 bits: a pruned
/// channel has weights near zero but may keep its bias.
fn least_scales(graph: &Graph, weights: Index) -> Vec<f32> {
    let bias = graph.tensors.iter().find_map(|t| match &t.content {
        Content::Constant {
            data: Data::F32(values),
            role: Role::Bias { input, weights: w },
        } if *w == weights => Some((values, *input)),
        _ => None,
    });
    let Some((values, input)) = bias else {
        return Vec::new();
    };
    let step = scale_of(graph, input) * LARGEST_BIAS;
    values.iter().map(|value| value.abs() / step).collect()
}

/// The nearest stored weights.
#[allow(clippy::cast_possible_truncation)] // clamped to eight bits
fn rounded(values: &[f32], scale: f32) -> Vec<i8> {
    let store = |value: &f32| {
        (value / scale)
            .round()
            .clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) as i8
    };
    values.iter().map(store).collect()
}

/// Symmetric weights: one scale per index of `dimension`, or one for all when there is no such dimension.
///
/// No scale is below its channel's in `least`.
fn weights(shape: &[i32], values: &[f32], dimension: usize, least: &[f32]) -> (Data, Quantization) {
    let lengths: Vec<usize> = shape
        .iter()
        .map(|d| usize::try_from(*d).unwrap_or(0))
        .collect();
    let channels = lengths.get(dimension).copied().unwrap_or(1).max(1);
    let inner: usize = lengths.iter().skip(dimension.saturating_add(1)).product();
    let inner = if dimension < lengths.len() {
        inner.max(1)
    } else {
        values.len().max(1)
    };
    let channel = |index: usize| index / inner % channels;
    let mut largest = vec![0.0_f32; channels];
    for (index, value) in values.iter().enumerate() {
        let slot = &mut largest[channel(index)];
        *slot = slot.max(value.abs());
    }
    let all = least.iter().copied().fold(SMALLEST_SCALE, f32::max);
    let least = |channel: usize| match channels {
        1 => all,
        _ => least.get(channel).copied().unwrap_or(SMALLEST_SCALE),
    };
    let scales: Vec<f32> = largest
        .iter()
        .enumerate()
        .map(|(channel, l)| (l / LARGEST_WEIGHT).max(SMALLEST_SCALE).max(least(channel)))
        .collect();
    #[allow(clippy::cast_possible_truncation)] // clamped to eight bits
    let store = |(index, value): (usize, &f32)| {
        (value / scales[channel(index)])
            .round()
            .clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) as i8
    };
    let stored = values.iter().enumerate().map(store).collect();
    let quantization = Quantization {
        zero_points: vec![0; scales.len()],
        scales,
        dimension: if dimension < lengths.len() {
            i32::try_from(dimension).unwrap_or(0)
        } else {
            0
        },
    };
    (Data::I8(stored), quantization)
}

/// Biases in the scale of the products that they are added to.
fn bias(values: &[f32], input: f32, weights: &[f32]) -> (Data, Quantization) {
    let scale = |channel: usize| {
        input
            * weights
                .get(channel)
                .or(weights.first())
                .copied()
                .unwrap_or(1.0)
    };
    #[allow(clippy::cast_possible_truncation)] // saturates at 32 bits
    let store = |(channel, value): (usize, &f32)| {
        (f64::from(*value) / f64::from(scale(channel))).round() as i32
    };
    let stored = values.iter().enumerate().map(store).collect();
    let scales: Vec<f32> = (0..weights.len()).map(scale).collect();
    let quantization = Quantization {
        zero_points: vec![0; scales.len()],
        scales,
        dimension: 0,
    };
    (Data::I32(stored), quantization)
}

/// Puts QUANTIZE behind a float input and DEQUANTIZE before a float output.
fn add_borders(graph: &mut Graph) {
    for (inside, code) in [
        (graph.input, Builtin::Quantize),
        (graph.output, Builtin::Dequantize),
    ] {
        let (name, shape) = (
            graph.tensors[inside].name.clone(),
            graph.tensors[inside].shape.clone(),
        );
        graph.tensors[inside].name = format!("{name}.int8");
        graph.tensors.push(Tensor {
            name,
            shape,
            content: Content::Activation {
                element: Element::F32,
                range: Range::As(inside),
            },
            quantization: None,
        });
        let outside = graph.tensors.len() - 1;
        let operator = |input, output| Operator {
            code,
            inputs: vec![input],
            output,
            options: Options::None,
        };
        if code == Builtin::Quantize {
            graph.operators.insert(0, operator(outside, inside));
            graph.input = outside;
        } else {
            graph.operators.push(operator(inside, outside));
            graph.output = outside;
        }
    }
}
