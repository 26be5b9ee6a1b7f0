//! A fragment at the sizes of one place of a network.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::count::{Costs, count};
use super::decode::{Source, Step, ValueId};
use super::error::Problem;
use super::facts::{Call, Element, Fact, Known, Source as Origin, written};
use super::operator::{FanIn, Memory, Role, find};
use super::sizes::Sizes;
use super::tensors::Data;
use super::{Fragment, einsum, elementwise};
use crate::shape::Shape;
use crate::units::{Bytes, Macs, Params};

/// Most numbers in the weights of one instance.
const MAX_WEIGHTS: u64 = 1 << 28;

/// A fragment at one place of a network: its shapes and costs. Cloning is cheap; equality is that of the
/// fragment and the sizes asked for.
#[derive(Clone)]
pub struct Instance(Arc<Inner>);

struct Inner {
    fragment: Fragment,
    input: Shape,
    output: Shape,
    stride: u32,
    graph: Graph,
    weights: Vec<WeightTensor>,
    costs: Costs,
}

/// The graph of an instance.
pub(super) struct Graph {
    /// Operators in execution order; the sum of input and output, if there is one, is the last.
    pub steps: Vec<Step>,
    /// What is known about each value.
    pub facts: Vec<Fact>,
    /// Constant shapes at the sizes asked for.
    pub shapes: BTreeMap<ValueId, Vec<i64>>,
    pub input: ValueId,
    pub output: ValueId,
}

/// A weight of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightTensor {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions at this place.
    pub dims: Vec<u64>,
    /// Whether it is a parameter; batch-norm's running mean and variance, for instance, are not.
    pub parameter: bool,
    /// Which constant of the file it is.
    pub(super) constant: usize,
    /// How it is drawn; `None` where its dimensions are those of the file, whose numbers it keeps.
    pub(super) draw: Option<Draw>,
}

/// How a weight is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Draw {
    /// He-uniform for sums of this many products.
    Products(u64),
    /// Around 1.
    Scale,
    /// Around 0.
    Shift,
    /// Between 0 and 1.
    Slope,
}

impl WeightTensor {
    /// How many numbers it has.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

impl Instance {
    pub(super) fn new(
        fragment: &Fragment,
        input: Shape,
        out_channels: u32,
        stride: u32,
    ) -> Result<Self, Problem> {
        let source = fragment.source();
        let at = format!(
            "with {} -> {out_channels} channels on {} x {} at stride {stride}",
            input.channels, input.height, input.width
        );
        let sizes = Sizes::new(source, fragment.declaration(), input, out_channels, stride)?;
        let output = Shape {
            channels: out_channels,
            height: input.height.div_ceil(stride),
            width: input.width.div_ceil(stride),
        };
        let uses = uses(source);
        let skip = fragment.declaration().skip && input == output;
        let graph = Inference::new(fragment, &sizes, input, &uses)?.run(&sizes, skip, &at)?;
        check_output(&graph, output, &at)?;
        let weights = weights(source, &sizes, &graph, &uses);
        let total = weights
            .iter()
            .try_fold(0_u64, |sum, w| sum.checked_add(w.elements()));
        if total.is_none_or(|n| n > MAX_WEIGHTS) {
            return Err(Problem::too_large(
                format!("the number of weights {at}"),
                MAX_WEIGHTS,
            ));
        }
        let costs = count(&graph, &weights, source.opset)
            .ok_or_else(|| Problem::too_large(format!("the cost {at}"), u64::MAX))?;
        Ok(Self(Arc::new(Inner {
            fragment: fragment.clone(),
            input,
            output,
            stride,
            graph,
            weights,
            costs,
        })))
    }

    /// The block.
    #[must_use]
    pub fn fragment(&self) -> &Fragment {
        &self.0.fragment
    }

    /// Shape of the input.
    #[must_use]
    pub fn input(&self) -> Shape {
        self.0.input
    }

    /// Shape of the output.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.0.output
    }

    /// Stride of the place.
    #[must_use]
    pub fn stride(&self) -> u32 {
        self.0.stride
    }

    /// Multiply-accumulates of convolutions and matrix products.
    #[must_use]
    pub fn macs(&self) -> Macs {
        self.0.costs.macs
    }

    /// Parameters, batch-norm scale and shift included.
    #[must_use]
    pub fn params(&self) -> Params {
        self.0.costs.params
    }

    /// Bytes that the operators read and write, one after the other: activations and parameters.
    #[must_use]
    pub fn traffic(&self) -> Bytes {
        self.0.costs.traffic
    }

    /// The most activation memory alive at once inside the block, its input and output included. With
    /// `keep_input` the input is needed after the block too, and stays alive to its end.
    #[must_use]
    pub fn peak_activation_memory(&self, keep_input: bool) -> Bytes {
        self.0.costs.peak[usize::from(keep_input)]
    }

    /// Operators that run with each image: those that follow from weights or shapes alone are left out.
    #[must_use]
    pub fn operators(&self) -> usize {
        self.0.costs.operators
    }

    /// The weights, in the order of [`super::FragmentWeights`].
    #[must_use]
    pub fn weight_tensors(&self) -> &[WeightTensor] {
        &self.0.weights
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.0.graph
    }
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        let identity = |i: &Self| (i.0.input, i.0.output, i.0.stride);
        Arc::ptr_eq(&self.0, &other.0)
            || (identity(self) == identity(other) && self.fragment() == other.fragment())
    }
}

impl Eq for Instance {}

impl Hash for Instance {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fragment().hash(state);
        (self.0.input, self.0.output, self.0.stride).hash(state);
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(
            f,
            "{:?} at {:?} -> {:?}",
            inner.fragment, inner.input, inner.output
        )
    }
}

/// What a stored tensor is for: the operator that reads it, through changes of shape.
#[derive(Clone, Copy)]
struct Use {
    step: usize,
    role: Role,
    /// The value that the operator reads.
    read_as: ValueId,
}

/// The use of each constant; `None` where no operator reads it.
fn uses(source: &Source) -> Vec<Option<Use>> {
    let mut first = vec![None; source.values.len()];
    for (index, step) in source.nodes.iter().enumerate() {
        for (place, input) in step.inputs.iter().enumerate() {
            if let Some(input) = *input {
                first[input].get_or_insert((index, place));
            }
        }
    }
    let follow = |start: ValueId| {
        let mut value = start;
        loop {
            let (index, place) = first[value]?;
            let step: &Step = &source.nodes[index];
            let moves = step.operator.memory == Memory::View || step.operator.name == "Transpose";
            // A result stands after what it is made from, so that this ends.
            if moves && place == 0 && first[step.outputs[0]].is_some() {
                value = step.outputs[0];
                continue;
            }
            return Some(Use {
                step: index,
                role: step.operator.role(place),
                read_as: value,
            });
        }
    };
    source.constants.iter().map(|c| follow(c.value)).collect()
}

/// Whether a constant is kept as a weight: float32 with dimensions, but no scales of a `Resize`.
fn is_weight(source: &Source, constant: usize, used: Option<Use>) -> bool {
    let constant = &source.constants[constant];
    let float = matches!(constant.data, Data::Float(_)) && !constant.dims.is_empty();
    float && used.is_some_and(|used| source.nodes[used.step].operator.name != "Resize")
}

/// Whether a weight is a parameter: all among the initialisers, and in `Constant` operators those that convolutions and
/// matrix products multiply with, and those of normalisations, sums and factors that no plain number can be: they
/// follow the channels, or scale what is normalised. Ones that scale and zeros that are added are no weights there:
/// exporters write them where a module has none.
fn is_parameter(source: &Source, constant: usize, used: Option<Use>, follows: bool) -> bool {
    let Some(used) = used.filter(|_| is_weight(source, constant, used)) else {
        return false;
    };
    let operator = source.nodes[used.step].operator;
    let constant = &source.constants[constant];
    let all = |number: f32| match &constant.data {
        Data::Float(values) => values.iter().all(|&v| v.to_bits() == number.to_bits()),
        Data::Int(_) | Data::Bool(_) => false,
    };
    let neutral = match used.role {
        Role::Scale => all(1.0),
        Role::Shift => all(0.0),
        _ => false,
    };
    let trained = (follows || operator.normalises()) && !neutral;
    let running = matches!(used.role, Role::Mean | Role::Variance);
    (constant.initializer || operator.multiplies() || trained) && !running
}

/// Shape inference, operator by operator.
struct Inference<'a> {
    source: &'a Source,
    facts: Vec<Option<Fact>>,
    shapes: BTreeMap<ValueId, Vec<i64>>,
}

impl<'a> Inference<'a> {
    fn new(
        fragment: &'a Fragment,
        sizes: &Sizes,
        input: Shape,
        uses: &[Option<Use>],
    ) -> Result<Self, Problem> {
        let source = fragment.source();
        let mut this = Self {
            source,
            facts: vec![None; source.values.len()],
            shapes: BTreeMap::new(),
        };
        let dims = [1, input.channels, input.height, input.width].map(u64::from);
        let fact = Fact::float(dims.to_vec());
        fact.check()
            .map_err(|what| Problem::Graph(format!("the input: {what}")))?;
        this.facts[source.input] = Some(fact);
        for (index, constant) in source.constants.iter().enumerate() {
            let name = &source.values[constant.value];
            if let Data::Int(numbers) = &constant.data {
                let shape = match fragment.0.sizes[constant.value] {
                    true => Some(sizes.shape(source, name, numbers)?),
                    false => sizes.slice_steps(constant.value, numbers),
                };
                this.shapes
                    .extend(shape.map(|shape| (constant.value, shape)));
            }
            let dims = if is_weight(source, index, uses[index]) {
                sizes.dims(&constant.dims)
            } else {
                constant.dims.clone()
            };
            let ints = this.shapes.get(&constant.value).map(Vec::as_slice);
            let mut fact = Fact::constant(constant, dims, ints);
            let follows = sizes.follow_channels(&constant.dims);
            if is_parameter(source, index, uses[index], follows) {
                fact.source = Origin::Parameter;
            }
            let elements = fact.dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(d));
            if elements.is_none_or(|n| n > MAX_WEIGHTS) {
                return Err(Problem::too_large(
                    format!("the weight `{name}`"),
                    MAX_WEIGHTS,
                ));
            }
            this.facts[constant.value] = Some(fact);
        }
        Ok(this)
    }

    fn run(mut self, sizes: &Sizes, skip: bool, at: &str) -> Result<Graph, Problem> {
        let source = self.source;
        let mut steps: Vec<Step> = Vec::with_capacity(source.nodes.len() + 1);
        for node in &source.nodes {
            let mut step = sizes.step(node);
            self.infer(&step, at)?;
            self.drop_cast(&mut step);
            steps.push(step);
        }
        let mut output = source.output;
        if skip {
            let sum = self.facts.len();
            self.facts.push(None);
            let step = skip_step(source, sum)?;
            self.infer(&step, at)?;
            steps.push(step);
            output = sum;
        }
        let facts = self
            .facts
            .into_iter()
            .collect::<Option<Vec<Fact>>>()
            .ok_or_else(|| Problem::Graph("a tensor is never made".to_owned()))?;
        Ok(Graph {
            steps,
            facts,
            shapes: self.shapes,
            input: source.input,
            output,
        })
    }

    /// A cast that leaves the type as it is, as all between precisions do here, only hands its input on.
    fn drop_cast(&self, step: &mut Step) {
        let element = |value: ValueId| self.facts[value].as_ref().map(|fact| fact.element);
        let ([Some(input), ..], [output]) = (step.inputs.as_slice(), step.outputs.as_slice())
        else {
            return;
        };
        if step.operator.name.starts_with("Cast")
            && element(*input) == element(*output)
            && let Some(identity) = find("Identity")
        {
            step.operator = identity;
            step.inputs.truncate(1);
            step.attributes = super::attributes::Attributes::default();
        }
    }

    fn infer(&mut self, step: &Step, at: &str) -> Result<(), Problem> {
        let fail = |message: String| Problem::Shape {
            operator: step.operator.name.to_owned(),
            node: step.name.clone(),
            at: at.to_owned(),
            message,
        };
        let results = self.results(step).map_err(fail)?;
        for (&value, fact) in step.outputs.iter().zip(results) {
            fact.check().map_err(fail)?;
            self.facts[value] = Some(fact);
        }
        Ok(())
    }

    fn results(&self, step: &Step) -> Result<Vec<Fact>, String> {
        let (fewest, most) = step.operator.arity;
        if !(fewest..=most).contains(&step.inputs.len()) {
            return Err(format!(
                "it has {} inputs instead of {fewest} to {most}",
                step.inputs.len()
            ));
        }
        let call = Call {
            opset: self.source.opset,
            attributes: &step.attributes,
            inputs: inputs_of(step, |value| self.facts[value].as_ref()),
            outputs: step.outputs.len(),
        };
        let mut results = (step.operator.infer)(&call)?;
        if let ([result], [Some(a), Some(b)]) = (results.as_mut_slice(), call.inputs.as_slice())
            && result.dims.len() <= 1
            && result.element == Element::Int
            && let Some(known) = elementwise::fold(step.operator.name, a, b)
        {
            result.known = Some(known);
        }
        let origin = call.inputs.iter().flatten().map(|fact| fact.source).max();
        for result in &mut results {
            let folded = matches!(result.known, Some(Known::Ints(_)));
            result.source = if folded {
                Origin::Constant
            } else {
                origin.unwrap_or(Origin::Constant)
            };
        }
        if results.len() == step.outputs.len() {
            Ok(results)
        } else {
            Err(format!("it has {} outputs", step.outputs.len()))
        }
    }
}

/// What is known about the inputs of a step.
pub(super) fn inputs_of<'a>(
    step: &Step,
    fact: impl Fn(ValueId) -> Option<&'a Fact>,
) -> Vec<Option<&'a Fact>> {
    step.inputs.iter().map(|&v| v.and_then(&fact)).collect()
}

/// The sum of input and output.
fn skip_step(source: &Source, sum: ValueId) -> Result<Step, Problem> {
    let operator = find("Add").ok_or_else(|| Problem::Operators(vec!["Add".to_owned()]))?;
    Ok(Step {
        name: String::new(),
        operator,
        inputs: vec![Some(source.input), Some(source.output)],
        outputs: vec![sum],
        attributes: super::attributes::Attributes::default(),
    })
}

fn check_output(graph: &Graph, output: Shape, at: &str) -> Result<(), Problem> {
    let fact = &graph.facts[graph.output];
    let expected = [1, output.channels, output.height, output.width].map(u64::from);
    if fact.dims == expected && fact.element == Element::Float && fact.source == Origin::Activation
    {
        return Ok(());
    }
    let found = match (fact.source, fact.element) {
        (Origin::Activation, Element::Float) => written(&fact.dims),
        (Origin::Activation, element) => format!("{} of type {element:?}", written(&fact.dims)),
        _ => format!(
            "{}, which does not depend on the input,",
            written(&fact.dims)
        ),
    };
    Err(Problem::Output {
        at: at.to_owned(),
        found,
        expected: written(&expected),
    })
}

fn weights(
    source: &Source,
    sizes: &Sizes,
    graph: &Graph,
    uses: &[Option<Use>],
) -> Vec<WeightTensor> {
    let weight = |index: usize| {
        let (constant, used) = (&source.constants[index], uses[index]?);
        let follows = sizes.follow_channels(&constant.dims);
        let dims = graph.facts[constant.value].dims.clone();
        is_weight(source, index, Some(used)).then(|| WeightTensor {
            name: source.values[constant.value].clone(),
            parameter: is_parameter(source, index, Some(used), follows),
            constant: index,
            draw: (dims != constant.dims).then(|| draw(source, graph, used)),
            dims,
        })
    };
    (0..source.constants.len()).filter_map(weight).collect()
}

fn draw(source: &Source, graph: &Graph, used: Use) -> Draw {
    match used.role {
        Role::Product(rule) => Draw::Products(fan_in(source, graph, used, rule).max(1)),
        Role::Scale | Role::Variance => Draw::Scale,
        Role::Shift | Role::Mean | Role::Data => Draw::Shift,
        Role::Slope => Draw::Slope,
    }
}

fn fan_in(source: &Source, graph: &Graph, used: Use, rule: FanIn) -> u64 {
    let dims = &graph.facts[used.read_as].dims;
    let step = &graph.steps[used.step];
    let attributes = &step.attributes;
    let from_end = |n: usize| dims.len().checked_sub(n).map_or(1, |i| dims[i]);
    match rule {
        FanIn::AfterFirst => dims.iter().skip(1).product(),
        FanIn::AllButSecond => {
            let groups = attributes.int("group", 1).unsigned_abs().max(1);
            dims.iter()
                .take(1)
                .chain(dims.iter().skip(2))
                .product::<u64>()
                / groups
        }
        FanIn::Gemm if attributes.int("transB", 0) == 0 => from_end(2),
        FanIn::Gemm | FanIn::Last => from_end(1),
        FanIn::LastButOne => from_end(2.min(dims.len())),
        FanIn::Summed => einsum::summed(&Call {
            opset: source.opset,
            attributes,
            inputs: inputs_of(step, |value| graph.facts.get(value)),
            outputs: step.outputs.len(),
        }),
    }
}
