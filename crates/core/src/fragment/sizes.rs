//! What the probe sizes of a file become at the sizes asked for.

use std::collections::BTreeSet;

use super::Declaration;
use super::attributes::Attributes;
use super::decode::{Constant, Source, Step, ValueId};
use super::error::Problem;
use super::tensors::Data;
use crate::shape::Shape;

/// Largest number of channels, rows or columns.
pub(super) const MAX_EXTENT: u32 = 1 << 16;

/// Attributes that say how many groups there are, which may be as many as channels.
const GROUPS: [&str; 2] = ["group", "num_groups"];

/// Which input of `Slice` holds its steps.
const STEPS: usize = 4;

/// Numbers to suggest: prime, and rare as kernels, groups or strides.
const PRIMES: [u64; 20] = [
    11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
];

/// Whether a size belongs to the channels or to the image.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Channels,
    Image,
}

/// What a number in the file stands for.
struct Meaning {
    number: u64,
    value: u64,
    kind: Kind,
    text: String,
}

/// The sizes of one instance.
pub(super) struct Sizes {
    meanings: Vec<Meaning>,
    /// The declared stride and the one asked for.
    stride: Option<(u32, u32)>,
    /// Which values are steps of slices.
    steps: Vec<bool>,
}

impl Sizes {
    pub fn new(
        source: &Source,
        declaration: &Declaration,
        input: Shape,
        out_channels: u32,
        stride: u32,
    ) -> Result<Self, Problem> {
        let extents = [
            input.channels,
            input.height,
            input.width,
            out_channels,
            stride,
        ];
        if extents.contains(&0) {
            return Err(Problem::Declaration(
                "every size must be at least 1".to_owned(),
            ));
        }
        if extents.iter().any(|&n| n > MAX_EXTENT) {
            return Err(Problem::too_large("a size", MAX_EXTENT.into()));
        }
        if declaration.stride.is_none() && stride != 1 {
            return Err(Problem::Stride(stride));
        }
        if declaration.keeps_channels() && input.channels != out_channels {
            return Err(Problem::KeepsChannels {
                declared: declaration.in_channels,
                input: input.channels,
                output: out_channels,
            });
        }
        let mut meanings = channels(declaration, input.channels, out_channels)?;
        meanings.extend(image(source, declaration, input, stride));
        Ok(Self {
            meanings,
            stride: declaration.stride.map(|declared| (declared, stride)),
            steps: slice_steps(source),
        })
    }

    /// A number of channels in the file, at the sizes asked for.
    fn channels(&self, number: u64) -> u64 {
        self.meanings
            .iter()
            .find(|m| m.kind == Kind::Channels && m.number == number)
            .map_or(number, |m| m.value)
    }

    /// Dimensions of a weight.
    pub fn dims(&self, dims: &[u64]) -> Vec<u64> {
        dims.iter().map(|&n| self.channels(n)).collect()
    }

    /// Whether one of the dimensions of the file stands for channels.
    pub fn follow_channels(&self, dims: &[u64]) -> bool {
        let stands = |n: &u64| {
            let mut meanings = self.meanings.iter();
            meanings.any(|m| m.kind == Kind::Channels && m.number == *n)
        };
        dims.iter().any(stands)
    }

    /// Numbers of a constant shape called `tensor`.
    pub fn shape(
        &self,
        source: &Source,
        tensor: &str,
        numbers: &[i64],
    ) -> Result<Vec<i64>, Problem> {
        numbers
            .iter()
            .map(|&number| {
                let mut meanings = self.meanings_of(number);
                let Some(first) = meanings.next() else {
                    return Ok(number);
                };
                match meanings.find(|m| m.value != first.value) {
                    Some(second) => Err(ambiguous(source, tensor, number, first, second)),
                    None => Ok(i64::try_from(first.value).unwrap_or(i64::MAX)),
                }
            })
            .collect()
    }

    /// That no number of a constant shape may stand for channels and for rows or columns.
    pub fn check_shape(
        &self,
        source: &Source,
        tensor: &str,
        numbers: &[i64],
    ) -> Result<(), Problem> {
        for &number in numbers {
            let mut meanings = self.meanings_of(number);
            if let Some(first) = meanings.next()
                && let Some(second) = meanings.find(|m| m.kind != first.kind)
            {
                return Err(ambiguous(source, tensor, number, first, second));
            }
        }
        Ok(())
    }

    fn meanings_of(&self, number: i64) -> impl Iterator<Item = &Meaning> {
        let number = u64::try_from(number).ok();
        self.meanings
            .iter()
            .filter(move |m| Some(m.number) == number)
    }

    /// Steps of a slice at the stride asked for; `None` for a value that is none.
    pub fn slice_steps(&self, value: ValueId, numbers: &[i64]) -> Option<Vec<i64>> {
        let (declared, stride) = self.stride.filter(|_| self.steps[value])?;
        let follow = |&n: &i64| match n == i64::from(declared) {
            true => i64::from(stride),
            false => n,
        };
        Some(numbers.iter().map(follow).collect())
    }

    /// A step at the sizes asked for.
    pub fn step(&self, step: &Step) -> Step {
        let mut attributes = step.attributes.clone();
        for name in GROUPS {
            if let Ok(groups) = u64::try_from(attributes.int(name, 1))
                && self.channels(groups) != groups
            {
                let groups = i64::try_from(self.channels(groups)).unwrap_or(i64::MAX);
                attributes.set_int(name, groups);
            }
        }
        if let Some((declared, stride)) = self.stride
            && step.operator.strided
            && has_stride(&attributes, declared)
        {
            attributes.set_ints("strides", &[i64::from(stride); 2]);
        }
        Step {
            attributes,
            ..step.clone()
        }
    }
}

fn has_stride(attributes: &Attributes, stride: u32) -> bool {
    attributes.ints("strides") == Some(&[i64::from(stride); 2])
}

fn channels(
    declaration: &Declaration,
    in_channels: u32,
    out_channels: u32,
) -> Result<Vec<Meaning>, Problem> {
    let meaning = |number: u32, value: u32, text: String| Meaning {
        number: number.into(),
        value: value.into(),
        kind: Kind::Channels,
        text,
    };
    let mut meanings = vec![
        meaning(
            declaration.in_channels,
            in_channels,
            "the input channels".into(),
        ),
        meaning(
            declaration.out_channels,
            out_channels,
            "the output channels".into(),
        ),
    ];
    for (&number, formula) in &declaration.sizes {
        let value = formula.evaluate(in_channels, out_channels).ok_or_else(|| {
            Problem::too_large(format!("the size `{formula}`"), MAX_EXTENT.into())
        })?;
        meanings.push(meaning(number, value, format!("`{formula}` channels")));
    }
    Ok(meanings)
}

/// What rows and columns of the file's image stand for, before and after the stride. A size of 1 says nothing.
fn image(source: &Source, declaration: &Declaration, input: Shape, stride: u32) -> Vec<Meaning> {
    let mut meanings = Vec::new();
    let places = [
        ("input", 1, 1),
        (
            "output",
            declaration.stride.unwrap_or(1).into(),
            u64::from(stride),
        ),
    ];
    let [rows, columns] = source.image;
    for (place, declared, stride) in places {
        let after = |size: Option<u64>, divisor: u64| size.map(|n| n.div_ceil(divisor));
        let numbers = [after(rows, declared), after(columns, declared)];
        let values = [input.height, input.width].map(|n| u64::from(n).div_ceil(stride));
        let product = numbers[0].zip(numbers[1]).map(|(h, w)| h * w);
        let all = [
            (numbers[0], values[0], "rows"),
            (numbers[1], values[1], "columns"),
            (product, values[0] * values[1], "pixels"),
        ];
        for (number, value, what) in all {
            meanings.extend(number.filter(|&n| n > 1).map(|number| Meaning {
                number,
                value,
                kind: Kind::Image,
                text: format!("the {place}'s {what}"),
            }));
        }
    }
    meanings
}

fn ambiguous(
    source: &Source,
    tensor: &str,
    number: i64,
    first: &Meaning,
    second: &Meaning,
) -> Problem {
    let free = free_numbers(&numbers(source, &vec![true; source.values.len()]));
    Problem::Ambiguous {
        tensor: tensor.to_owned(),
        number,
        first: first.text.clone(),
        second: second.text.clone(),
        remedy: match free.as_slice() {
            [.., rows, columns] => format!("for example an image of {rows} x {columns}"),
            _ => "for example a larger image".to_owned(),
        },
    }
}

/// Which values are steps of slices and nothing else.
fn slice_steps(source: &Source) -> Vec<bool> {
    let (mut steps, mut others) = (vec![false; source.values.len()], Vec::new());
    for step in &source.nodes {
        for (place, value) in step.inputs.iter().enumerate() {
            match (value, step.operator.name, place) {
                (Some(value), "Slice", STEPS) => steps[*value] = true,
                (Some(value), _, _) => others.push(*value),
                (None, _, _) => {}
            }
        }
    }
    others.into_iter().for_each(|value| steps[value] = false);
    steps
}

/// Which values hold sizes: the shape inputs of operators and what they are computed from.
pub(super) fn size_values(source: &Source) -> Vec<bool> {
    let mut holds = vec![false; source.values.len()];
    for step in source.nodes.iter().rev() {
        let passes = step.outputs.iter().any(|&output| holds[output]);
        for (index, input) in step.inputs.iter().enumerate() {
            let is_size = step.operator.sizes.contains(&index)
                || (passes && index < step.operator.passes_sizes);
            if let (true, Some(input)) = (is_size, input) {
                holds[*input] = true;
            }
        }
    }
    holds
}

/// Every number of the file that a probe size may be compared with.
fn numbers(source: &Source, sizes: &[bool]) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for constant in &source.constants {
        match &constant.data {
            Data::Int(values) if sizes[constant.value] => {
                numbers.extend(values.iter().filter_map(|&n| u64::try_from(n).ok()));
            }
            Data::Int(_) | Data::Bool(_) => {}
            Data::Float(_) => numbers.extend(&constant.dims),
        }
    }
    for step in &source.nodes {
        let groups = GROUPS.map(|name| step.attributes.int(name, 1));
        numbers.extend(groups.into_iter().filter_map(|n| u64::try_from(n).ok()));
    }
    numbers
}

/// Sizes of the kernels of convolutions and pools.
fn kernels(source: &Source) -> BTreeSet<u64> {
    let mut kernels = BTreeSet::new();
    for step in &source.nodes {
        let shape = step.attributes.ints("kernel_shape").unwrap_or_default();
        kernels.extend(shape.iter().filter_map(|&n| u64::try_from(n).ok()));
        let weight = step.inputs.get(1).copied().flatten();
        let convolution = step.operator.name.starts_with("Conv");
        if let Some(constant) = source
            .constants
            .iter()
            .find(|c| convolution && Some(c.value) == weight && c.dims.len() > 2)
        {
            kernels.extend(&constant.dims[2..]);
        }
    }
    kernels
}

/// Three suggestions that do not occur in the file.
fn free_numbers(used: &BTreeSet<u64>) -> Vec<u64> {
    let free = |n: &u64| {
        !used
            .iter()
            .any(|&u| u == *n || u == 2 * n || u == n.div_ceil(2))
    };
    PRIMES.into_iter().filter(free).take(3).collect()
}

/// That a declaration is consistent in itself and with the file.
pub(super) fn check(
    source: &Source,
    sizes: &[bool],
    declaration: &Declaration,
) -> Result<(), Problem> {
    let (input, output) = (declaration.in_channels, declaration.out_channels);
    let occurring = numbers(source, sizes);
    let kernels = kernels(source);
    let refuse = |what: String| {
        let suggestions = free_numbers(&occurring)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        Err(Problem::Declaration(format!(
            "{what}; numbers that the file does not use: {suggestions}"
        )))
    };
    for probe in [input, output]
        .into_iter()
        .chain(declaration.sizes.keys().copied())
    {
        if !(2..=MAX_EXTENT).contains(&probe) {
            return refuse(format!(
                "{probe} stands for a size, but must be 2 to {MAX_EXTENT}"
            ));
        }
        if kernels.contains(&probe.into()) {
            return refuse(format!(
                "{probe} stands for channels, but a kernel has this size too: export the block with other channels"
            ));
        }
        if !occurring.contains(&probe.into()) && probe != input && probe != output {
            return refuse(format!("the size {probe} does not occur in the file"));
        }
    }
    for (probe, formula) in &declaration.sizes {
        if [input, output].contains(probe) {
            return refuse(format!("{probe} stands for channels and for `{formula}`"));
        }
        let value = formula.evaluate(input, output);
        if value != Some(*probe) {
            let value = value.map_or("too large".to_owned(), |v| v.to_string());
            return refuse(format!(
                "the size {probe} is declared as `{formula}`, which is {value} for {input} and {output} channels"
            ));
        }
    }
    if source.channels != u64::from(input) {
        return refuse(format!(
            "in-channels is {input}, but the file's input has {} channels",
            source.channels
        ));
    }
    check_stride(source, declaration)
}

fn check_stride(source: &Source, declaration: &Declaration) -> Result<(), Problem> {
    let Some(stride) = declaration.stride else {
        return Ok(());
    };
    if !(2..=8).contains(&stride) {
        return Err(Problem::Declaration(format!(
            "stride is {stride}, but must be 2 to 8, so that it can be told from strides that stay 1"
        )));
    }
    let strided = |step: &Step| step.operator.strided && has_stride(&step.attributes, stride);
    let steps = slice_steps(source);
    let sliced = |constant: &Constant| match &constant.data {
        Data::Int(numbers) => steps[constant.value] && numbers.contains(&stride.into()),
        Data::Float(_) | Data::Bool(_) => false,
    };
    if source.nodes.iter().any(strided) || source.constants.iter().any(sliced) {
        Ok(())
    } else {
        Err(Problem::Declaration(format!(
            "stride is {stride}, but no convolution and no pooling of the file has the strides \
             [{stride}, {stride}], and no slice such steps"
        )))
    }
}
