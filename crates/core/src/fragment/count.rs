//! What an instance costs, counted operator by operator.

use super::decode::{Step, ValueId};
use super::facts::{Call, Fact, Source};
use super::instance::{Graph, WeightTensor, inputs_of};
use super::operator::Memory;
use crate::units::{Bytes, Macs, Params};

/// The counted costs of an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Costs {
    pub macs: Macs,
    pub params: Params,
    pub traffic: Bytes,
    /// Peak activation memory: where the input is freed after its last use, and where it is kept.
    pub peak: [Bytes; 2],
    pub operators: usize,
}

/// Counts an instance; `None` where a sum is no 64-bit number.
pub(super) fn count(graph: &Graph, weights: &[WeightTensor], opset: i64) -> Option<Costs> {
    let running: Vec<&Step> = graph.steps.iter().filter(|s| runs(graph, s)).collect();
    let mut macs = 0_u64;
    let mut traffic = 0_u64;
    for step in &running {
        macs = macs.checked_add(products(graph, step, opset))?;
        traffic = traffic.checked_add(moved(graph, step))?;
    }
    let params = weights
        .iter()
        .filter(|w| w.parameter)
        .map(WeightTensor::elements);
    Some(Costs {
        macs: Macs(macs),
        params: Params(params.sum()),
        traffic: Bytes(traffic),
        peak: [false, true].map(|keep_input| peak(graph, &running, keep_input)),
        operators: running.len(),
    })
}

/// Whether a step depends on the input, and so runs with every image.
fn runs(graph: &Graph, step: &Step) -> bool {
    step.outputs
        .iter()
        .any(|&output| graph.facts[output].source == Source::Activation)
}

fn products(graph: &Graph, step: &Step, opset: i64) -> u64 {
    let call = Call {
        opset,
        attributes: &step.attributes,
        inputs: inputs_of(step, |value| graph.facts.get(value)),
        outputs: step.outputs.len(),
    };
    (step.operator.products)(&call, &graph.facts[step.outputs[0]])
}

/// Bytes of activations and parameters that a step reads, and of what it writes.
fn moved(graph: &Graph, step: &Step) -> u64 {
    if step.operator.memory == Memory::View {
        return 0;
    }
    let read: u64 = step
        .inputs
        .iter()
        .flatten()
        .map(|&value| &graph.facts[value])
        .filter(|fact| fact.source != Source::Constant)
        .map(Fact::bytes)
        .sum();
    let written: u64 = step.outputs.iter().map(|&v| graph.facts[v].bytes()).sum();
    read + written
}

/// The rule of `network::cost`, with one running sum. A result that nobody reads is freed at once.
fn peak(graph: &Graph, steps: &[&Step], keep_input: bool) -> Bytes {
    let last_use = last_uses(graph, steps, keep_input);
    let bytes = |value: ValueId| graph.facts[value].bytes();
    let mut alive = bytes(graph.input);
    let mut peak = alive;
    for (index, step) in steps.iter().enumerate() {
        let mut ending: Vec<ValueId> = activations(graph, step)
            .filter(|&value| last_use[value] == index)
            .collect();
        ending.sort_unstable();
        ending.dedup();
        let freed: u64 = ending.iter().map(|&value| bytes(value)).sum();
        let made: u64 = step.outputs.iter().map(|&value| bytes(value)).sum();
        let reused = step.operator.memory != Memory::Fresh && freed == made;
        alive += if reused { 0 } else { made };
        peak = peak.max(alive);
        alive -= if reused { 0 } else { freed };
        let unread = step
            .outputs
            .iter()
            .filter(|&&value| last_use[value] == index);
        alive -= unread.map(|&value| bytes(value)).sum::<u64>();
    }
    Bytes(peak)
}

fn activations<'a>(graph: &'a Graph, step: &'a Step) -> impl Iterator<Item = ValueId> + 'a {
    let activation = |value: &ValueId| graph.facts[*value].source == Source::Activation;
    step.inputs.iter().flatten().copied().filter(activation)
}

/// The step after which each value is not needed any more; that of the output never comes.
fn last_uses(graph: &Graph, steps: &[&Step], keep_input: bool) -> Vec<usize> {
    let mut last_use = vec![usize::MAX; graph.facts.len()];
    for (index, step) in steps.iter().enumerate() {
        for value in activations(graph, step).chain(step.outputs.iter().copied()) {
            last_use[value] = index;
        }
    }
    last_use[graph.output] = usize::MAX;
    if keep_input {
        last_use[graph.input] = usize::MAX;
    }
    last_use
}
