//! Shapes of operators that work element by element.

use super::facts::{Call, Element, Fact, Known, written};
use super::tensors::canonical_type;

/// The same numbers under another name.
pub(super) fn identity(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    Ok(vec![call.input(0)?.clone()])
}

/// Type and shape stay as they are; further inputs stretch to them.
pub(super) fn same(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.input(0)?;
    for other in call.inputs.iter().skip(1).flatten() {
        if broadcast_dims(&input.dims, &other.dims)? != input.dims {
            return Err(format!(
                "{} does not fit into {}",
                written(&other.dims),
                written(&input.dims)
            ));
        }
    }
    Ok(vec![Fact::new(input.element, input.dims.clone())])
}

/// Data types as ONNX numbers them.
const TYPES: [(i64, Element); 3] = [(1, Element::Float), (7, Element::Int), (9, Element::Bool)];

/// The type that ONNX numbers so.
pub(super) fn element_of(number: i64) -> Result<Element, String> {
    let number = canonical_type(number);
    TYPES
        .into_iter()
        .find(|(known, _)| *known == number)
        .map(|(_, element)| element)
        .ok_or_else(|| {
            format!("data type {number} is neither a float of 16 to 64 bits, int32, int64 nor bool")
        })
}

pub(super) fn cast(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let element = element_of(call.attributes.int("to", 0))?;
    Ok(vec![cast_to(element, call.input(0)?)])
}

pub(super) fn cast_like(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    Ok(vec![cast_to(call.input(1)?.element, call.input(0)?)])
}

fn cast_to(element: Element, input: &Fact) -> Fact {
    Fact {
        element,
        known: input.known.clone().filter(|_| element == input.element),
        ..input.clone()
    }
}

/// From this operator set on, `Softmax` works along one axis; before, all from an axis on were one.
pub(super) const SOFTMAX_OF_ONE_AXIS: i64 = 13;

/// The axis of a `Softmax` where the attribute is left out.
pub(super) fn softmax_axis(opset: i64) -> i64 {
    if opset < SOFTMAX_OF_ONE_AXIS { 1 } else { -1 }
}

/// `Softmax` along one axis, which it also is in older operator sets where the dimensions behind the axis are 1.
pub(super) fn softmax(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(1)?;
    let axis = call.axis("axis", softmax_axis(call.opset), input.dims.len())?;
    if call.opset < SOFTMAX_OF_ONE_AXIS && input.dims[axis + 1..].iter().any(|&d| d != 1) {
        return Err(format!(
            "in operator set {} it works on all dimensions of {} from axis {axis} on at once: export with 13 or later",
            call.opset,
            written(&input.dims)
        ));
    }
    same(call)
}

/// Nothing is dropped when a network runs.
pub(super) fn dropout(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.input(0)?;
    Ok(vec![Fact::new(input.element, input.dims.clone())])
}

/// The common shape of all inputs (NumPy's rule), which have one type.
pub(super) fn broadcast(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let element = call.input(0)?.element;
    if call
        .inputs
        .iter()
        .flatten()
        .any(|fact| fact.element != element)
    {
        return Err("the inputs have different types".to_owned());
    }
    Ok(vec![Fact::new(element, common_dims(call)?)])
}

pub(super) fn compare(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    Ok(vec![Fact::new(Element::Bool, common_dims(call)?)])
}

/// `Where`: the type is that of the alternatives.
pub(super) fn choose(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (condition, first, second) = (call.input(0)?, call.input(1)?, call.input(2)?);
    if condition.element != Element::Bool || first.element != second.element {
        return Err("it needs a condition and two alternatives of one type".to_owned());
    }
    Ok(vec![Fact::new(first.element, common_dims(call)?)])
}

fn common_dims(call: &Call<'_>) -> Result<Vec<u64>, String> {
    (0..call.inputs.len()).try_fold(vec![], |dims, index| {
        broadcast_dims(&dims, &call.input(index)?.dims)
    })
}

/// The shape that two tensors have in common: dimensions of 1 stretch, missing ones are added in front.
pub(super) fn broadcast_dims(a: &[u64], b: &[u64]) -> Result<Vec<u64>, String> {
    let rank = a.len().max(b.len());
    let at = |dims: &[u64], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(place) => dims[place],
        None => 1,
    };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(format!("{} and {} do not fit", written(a), written(b))),
        })
        .collect()
}

/// `Add`, `Sub`, `Mul` or `Div` of two short lists of integers, as shapes are computed; `None` where
/// they are not known or the result is no 64-bit number.
pub(super) fn fold(operator: &str, a: &Fact, b: &Fact) -> Option<Known> {
    let (a, b) = (a.known_ints()?, b.known_ints()?);
    if a.len() != b.len() && a.len() != 1 && b.len() != 1 {
        return None;
    }
    let combine = |x: i64, y: i64| match operator {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        _ => None,
    };
    let at = |values: &[i64], i: usize| values.get(if values.len() == 1 { 0 } else { i }).copied();
    let length = if a.is_empty() || b.is_empty() {
        0
    } else {
        a.len().max(b.len())
    };
    (0..length)
        .map(|i| combine(at(a, i)?, at(b, i)?))
        .collect::<Option<Vec<i64>>>()
        .map(Known::Ints)
}

fn vector_of(fact: &Fact, length: u64, what: &str) -> Result<(), String> {
    if fact.dims == [length] {
        return Ok(());
    }
    Err(format!(
        "the {what} is {} where {length} channels need [{length}]",
        written(&fact.dims)
    ))
}

pub(super) fn batch_norm(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    if call.attributes.int("training_mode", 0) != 0 {
        return Err("it is in training mode: export the module after `.eval()`".to_owned());
    }
    let input = call.ranked(2)?;
    for (index, what) in ["scale", "shift", "mean", "variance"].iter().enumerate() {
        vector_of(call.input(index + 1)?, input.dims[1], what)?;
    }
    Ok(vec![Fact::float(input.dims.clone())])
}

pub(super) fn instance_norm(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(3)?;
    for (index, what) in ["scale", "shift"].iter().enumerate() {
        vector_of(call.input(index + 1)?, input.dims[1], what)?;
    }
    Ok(vec![Fact::float(input.dims.clone())])
}

pub(super) fn group_norm(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(3)?;
    let channels = input.dims[1];
    let groups = call.attributes.int("num_groups", 0);
    if !u64::try_from(groups).is_ok_and(|g| g > 0 && channels.is_multiple_of(g)) {
        return Err(format!(
            "`num_groups` is {groups}, which does not divide {channels} channels"
        ));
    }
    for (index, what) in ["scale", "shift"].iter().enumerate() {
        vector_of(call.input(index + 1)?, channels, what)?;
    }
    Ok(vec![Fact::float(input.dims.clone())])
}

pub(super) fn layer_norm(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(1)?;
    let axis = call.axis("axis", -1, input.dims.len())?;
    for other in call.inputs.iter().skip(1).flatten() {
        let normalised = &input.dims[axis..];
        if broadcast_dims(normalised, &other.dims)? != normalised {
            return Err(format!(
                "{} does not fit the normalised dimensions {}",
                written(&other.dims),
                written(normalised)
            ));
        }
    }
    Ok(vec![Fact::float(input.dims.clone())])
}
