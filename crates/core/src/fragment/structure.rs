//! Shapes of operators that rearrange, cut, join or summarise tensors.

use super::elementwise::{broadcast_dims, element_of};
use super::facts::{Call, Element, Fact, Known, MAX_KNOWN, axis, written};

/// A dimension from a signed number.
fn dimension(n: i64) -> Result<u64, String> {
    u64::try_from(n).map_err(|_| format!("a dimension would be {n}"))
}

fn signed(n: u64) -> Result<i64, String> {
    i64::try_from(n).map_err(|_| format!("{n} is too large"))
}

/// The same type as `input` with other dimensions, and its numbers where they are known.
fn reshaped(input: &Fact, dims: Vec<u64>) -> Vec<Fact> {
    vec![Fact {
        known: input.known.clone(),
        ..Fact::new(input.element, dims)
    }]
}

/// Other dimensions, other numbers.
fn fresh(input: &Fact, dims: Vec<u64>) -> Vec<Fact> {
    vec![Fact::new(input.element, dims)]
}

pub(super) fn reshape(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (input, target) = (call.input(0)?, call.sizes(1)?);
    let keep_zero = call.attributes.int("allowzero", 0) == 0;
    let misfit = || format!("{} cannot become {target:?}", written(&input.dims));
    let mut dims = Vec::with_capacity(target.len());
    for (place, &size) in target.iter().enumerate() {
        dims.push(match size {
            -1 => 1,
            0 if keep_zero => *input.dims.get(place).ok_or_else(misfit)?,
            size => dimension(size)?,
        });
    }
    let fixed = dims
        .iter()
        .try_fold(1_u64, |n, &d| n.checked_mul(d))
        .ok_or_else(misfit)?;
    let mut free = (0..target.len()).filter(|&i| target[i] == -1);
    match (free.next(), free.next()) {
        (Some(place), None) if fixed > 0 && input.elements().is_multiple_of(fixed) => {
            dims[place] = input.elements() / fixed;
        }
        (None, None) if fixed == input.elements() => {}
        _ => return Err(misfit()),
    }
    Ok(reshaped(input, dims))
}

pub(super) fn flatten(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(1)?;
    let rank = input.dims.len();
    let split = match call.attributes.int("axis", 1) {
        end if usize::try_from(end) == Ok(rank) => rank,
        other => axis(other, rank)?,
    };
    let (rows, columns) = input.dims.split_at(split);
    let dims = vec![rows.iter().product(), columns.iter().product()];
    Ok(reshaped(input, dims))
}

/// Axes counted from 0 among `rank`, without repetitions.
fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut axes = list
        .iter()
        .map(|&a| axis(a, rank))
        .collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    let before = axes.len();
    axes.dedup();
    if axes.len() == before {
        Ok(axes)
    } else {
        Err(format!("an axis stands twice in {list:?}"))
    }
}

pub(super) fn squeeze(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.input(0)?;
    let axes = match call.optional_sizes(1)? {
        Some(list) => axes(list, input.dims.len())?,
        None => (0..input.dims.len())
            .filter(|&i| input.dims[i] == 1)
            .collect(),
    };
    if axes.iter().any(|&a| input.dims[a] != 1) {
        return Err(format!(
            "{} has more than 1 at {axes:?}",
            written(&input.dims)
        ));
    }
    let dims = (0..input.dims.len())
        .filter(|i| !axes.contains(i))
        .map(|i| input.dims[i])
        .collect();
    Ok(reshaped(input, dims))
}

pub(super) fn unsqueeze(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (input, list) = (call.input(0)?, call.sizes(1)?);
    let mut dims = input.dims.clone();
    for place in axes(list, input.dims.len() + list.len())? {
        dims.insert(place.min(dims.len()), 1);
    }
    Ok(reshaped(input, dims))
}

pub(super) fn concat(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let first = call.ranked(1)?;
    let along = call.axis("axis", 0, first.dims.len())?;
    let mut dims = first.dims.clone();
    let mut known = Some(Vec::new());
    dims[along] = 0;
    for index in 0..call.inputs.len() {
        let part = call.input(index)?;
        let fits = part.element == first.element
            && part.dims.len() == dims.len()
            && (0..dims.len()).all(|i| i == along || part.dims[i] == dims[i]);
        if !fits {
            return Err(format!(
                "{} and {} cannot be joined along axis {along}",
                written(&first.dims),
                written(&part.dims)
            ));
        }
        dims[along] = dims[along].saturating_add(part.dims[along]);
        known = known.zip(part.known_ints()).map(|(mut all, more)| {
            all.extend_from_slice(more);
            all
        });
    }
    match known {
        Some(values) if dims.len() == 1 => Ok(vec![Fact::ints(values, false)]),
        _ => Ok(fresh(first, dims)),
    }
}

pub(super) fn split(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(1)?;
    let along = call.axis("axis", 0, input.dims.len())?;
    let size = input.dims[along];
    let sizes = match call.optional_sizes(1)? {
        Some(sizes) => sizes
            .iter()
            .map(|&n| dimension(n))
            .collect::<Result<Vec<_>, _>>()?,
        None => equal_parts(size, call.outputs as u64, call.opset)?,
    };
    if sizes.len() != call.outputs
        || sizes.iter().try_fold(0_u64, |n, &s| n.checked_add(s)) != Some(size)
    {
        return Err(format!("{size} cannot be split into {sizes:?}"));
    }
    let part = |&size: &u64| {
        let mut dims = input.dims.clone();
        dims[along] = size;
        Fact::new(input.element, dims)
    };
    Ok(sizes.iter().map(part).collect())
}

/// `size` in equal parts; from operator set 18 on the last may be smaller.
fn equal_parts(size: u64, parts: u64, opset: i64) -> Result<Vec<u64>, String> {
    let part = size.div_ceil(parts.max(1));
    let before = part * (parts.max(1) - 1);
    if before >= size || (opset < 18 && !size.is_multiple_of(parts.max(1))) {
        return Err(format!("{size} cannot be split into {parts} equal parts"));
    }
    let mut sizes = vec![part; usize::try_from(parts).map_err(|e| e.to_string())?];
    if let Some(last) = sizes.last_mut() {
        *last = size - before;
    }
    Ok(sizes)
}

pub(super) fn slice(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(1)?;
    let (starts, ends) = (call.sizes(1)?, call.sizes(2)?);
    let rank = input.dims.len();
    let every: Vec<i64> = (0..i64::try_from(starts.len()).unwrap_or(0)).collect();
    let list = call.optional_sizes(3)?.unwrap_or(&every);
    let steps = call.optional_sizes(4)?;
    let lengths = [
        ends.len(),
        list.len(),
        steps.map_or(starts.len(), <[i64]>::len),
    ];
    if lengths.iter().any(|&n| n != starts.len()) {
        return Err("starts, ends, axes and steps have different lengths".to_owned());
    }
    axes(list, rank)?;
    let mut dims = input.dims.clone();
    let mut known = input.known_ints().map(<[i64]>::to_vec);
    for (i, &along) in list.iter().enumerate() {
        let along = axis(along, rank)?;
        let step = steps.map_or(1, |s| s[i]);
        let range = cut(signed(dims[along])?, starts[i], ends[i], step)?;
        known = known.map(|values| range.take(&values, &dims, along));
        dims[along] = range.count;
    }
    Ok(with_ints(input, dims, known))
}

/// A tensor like `input` with other dimensions and these integers, where they are known.
fn with_ints(input: &Fact, dims: Vec<u64>, ints: Option<Vec<i64>>) -> Vec<Fact> {
    vec![Fact {
        known: ints.map(Known::Ints),
        ..Fact::new(input.element, dims)
    }]
}

/// Places that a slice takes.
struct Cut {
    start: i64,
    step: i64,
    count: u64,
}

impl Cut {
    /// What is left of `values`, a tensor of `dims`, along one axis.
    fn take(&self, values: &[i64], dims: &[u64], along: usize) -> Vec<i64> {
        let inner = dims[along + 1..].iter().product::<u64>();
        let row = usize::try_from(inner * dims[along])
            .unwrap_or(usize::MAX)
            .max(1);
        let inner = usize::try_from(inner).unwrap_or(usize::MAX).max(1);
        let mut taken = Vec::new();
        for row in values.chunks(row) {
            let mut place = self.start;
            for _ in 0..self.count {
                let run = usize::try_from(place)
                    .ok()
                    .and_then(|p| row.chunks(inner).nth(p));
                taken.extend_from_slice(run.unwrap_or_default());
                place = place.saturating_add(self.step);
            }
        }
        taken
    }
}

/// The slice `start..end` in steps of `step` on `size` elements; negative places count from the end,
/// and places beyond the ends are moved there.
fn cut(size: i64, start: i64, end: i64, step: i64) -> Result<Cut, String> {
    let place = |p: i64| if p < 0 { p.saturating_add(size) } else { p };
    let (start, length) = match step {
        0 => return Err("the step is 0".to_owned()),
        _ if size == 0 => (0, 0),
        1.. => {
            let (start, end) = (place(start).clamp(0, size), place(end).clamp(0, size));
            (start, end - start)
        }
        _ => {
            let (start, end) = (
                place(start).clamp(0, size - 1),
                place(end).clamp(-1, size - 1),
            );
            (start, start - end)
        }
    };
    let length = u64::try_from(length).unwrap_or(0);
    Ok(Cut {
        start,
        step,
        count: length.div_ceil(step.unsigned_abs()),
    })
}

pub(super) fn transpose(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.input(0)?;
    let rank = input.dims.len();
    let reversed: Vec<i64> = (0..i64::try_from(rank).unwrap_or(0)).rev().collect();
    let order = call.attributes.ints("perm").unwrap_or(&reversed);
    if order.len() != rank || axes(order, rank).is_err() {
        return Err(format!("{order:?} is not an order of {rank} axes"));
    }
    let dims = order
        .iter()
        .map(|&a| axis(a, rank).map(|a| input.dims[a]))
        .collect::<Result<_, _>>()?;
    let known = input
        .known_ints()
        .and_then(|values| transposed(values, &input.dims, order));
    Ok(with_ints(input, dims, known))
}

/// A short matrix of integers with rows and columns exchanged.
fn transposed(values: &[i64], dims: &[u64], order: &[i64]) -> Option<Vec<i64>> {
    let (&[_, columns], &[1, 0]) = (dims, order) else {
        return None;
    };
    let columns = usize::try_from(columns).ok()?;
    let column = |c: usize| values.iter().copied().skip(c).step_by(columns.max(1));
    Some((0..columns).flat_map(column).collect())
}

pub(super) fn expand(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.input(0)?;
    let target = call
        .sizes(1)?
        .iter()
        .map(|&n| dimension(n))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(fresh(input, broadcast_dims(&input.dims, &target)?))
}

pub(super) fn tile(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (input, repeats) = (call.input(0)?, call.sizes(1)?);
    if repeats.len() != input.dims.len() {
        return Err(format!("{repeats:?} does not fit {}", written(&input.dims)));
    }
    let dims = input
        .dims
        .iter()
        .zip(repeats)
        .map(|(&d, &n)| {
            d.checked_mul(dimension(n)?)
                .ok_or_else(|| "too many repeats".to_owned())
        })
        .collect::<Result<_, _>>()?;
    Ok(fresh(input, dims))
}

pub(super) fn pad(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (input, pads) = (call.input(0)?, call.sizes(1)?);
    let rank = input.dims.len();
    let every: Vec<i64> = (0..i64::try_from(rank).unwrap_or(0)).collect();
    let list = call.optional_sizes(3)?.unwrap_or(&every);
    axes(list, rank)?;
    if pads.len() != 2 * list.len() {
        return Err(format!("{pads:?} does not fit {}", written(&input.dims)));
    }
    let mut dims = input.dims.clone();
    for (i, &along) in list.iter().enumerate() {
        let along = axis(along, rank)?;
        let size = signed(dims[along])?
            .checked_add(pads[i])
            .and_then(|size| size.checked_add(pads[list.len() + i]))
            .ok_or("the padding is too large")?;
        dims[along] = dimension(size)?;
    }
    Ok(fresh(input, dims))
}

pub(super) fn gather(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (input, indices) = (call.ranked(1)?, call.input(1)?);
    let along = call.axis("axis", 0, input.dims.len())?;
    let lists = input.dims.len() == 1 && indices.dims.len() <= 1;
    if let (true, Some(values), Some(places)) = (lists, input.known_ints(), indices.known_ints()) {
        let picked = places
            .iter()
            .map(|&p| axis(p, values.len()).map(|p| values[p]))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(vec![Fact::ints(picked, indices.dims.is_empty())]);
    }
    let mut dims = input.dims[..along].to_vec();
    dims.extend(&indices.dims);
    dims.extend(&input.dims[along + 1..]);
    Ok(fresh(input, dims))
}

fn block_size(call: &Call<'_>) -> Result<u64, String> {
    let block = call.attributes.int("blocksize", 0);
    u64::try_from(block)
        .ok()
        .filter(|b| (1..=1 << 16).contains(b))
        .ok_or_else(|| format!("`blocksize` is {block}"))
}

fn image(call: &Call<'_>) -> Result<[u64; 4], String> {
    let dims = &call.input(0)?.dims;
    <[u64; 4]>::try_from(dims.as_slice())
        .map_err(|_| format!("{} is not [1, channels, rows, columns]", written(dims)))
}

pub(super) fn depth_to_space(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let ([n, c, h, w], b) = (image(call)?, block_size(call)?);
    if !c.is_multiple_of(b * b) {
        return Err(format!("{c} channels are no multiple of {b} x {b}"));
    }
    Ok(vec![Fact::float(vec![n, c / (b * b), h * b, w * b])])
}

pub(super) fn space_to_depth(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let ([n, c, h, w], b) = (image(call)?, block_size(call)?);
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return Err(format!("{h} x {w} is no multiple of {b}"));
    }
    Ok(vec![Fact::float(vec![n, c * b * b, h / b, w / b])])
}

/// `Resize` by constant scales or to constant sizes.
pub(super) fn resize(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(1)?;
    let rank = input.dims.len();
    if !matches!(
        call.attributes.string("keep_aspect_ratio_policy"),
        None | Some("stretch")
    ) {
        return Err("`keep_aspect_ratio_policy` must be `stretch`".to_owned());
    }
    let every: Vec<i64> = (0..i64::try_from(rank).unwrap_or(0)).collect();
    let list = call.attributes.ints("axes").unwrap_or(&every);
    axes(list, rank)?;
    let scales = match call.optional(2).map(|fact| (&fact.known, fact.elements())) {
        Some((Some(Known::Floats(scales)), 1..)) => Some(scales),
        _ => None,
    };
    let sizes = call.optional_sizes(3)?;
    let mut dims = input.dims.clone();
    for (i, &along) in list.iter().enumerate() {
        let along = axis(along, rank)?;
        dims[along] = match (sizes, scales) {
            (Some(sizes), _) => dimension(*sizes.get(i).ok_or("a size is missing")?)?,
            (None, Some(scales)) => {
                scaled(dims[along], *scales.get(i).ok_or("a scale is missing")?)?
            }
            (None, None) => return Err("scales or sizes must be constants".to_owned()),
        };
    }
    Ok(fresh(input, dims))
}

/// `floor(size * scale)` in single precision, as the definition of `Resize` has it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
fn scaled(size: u64, scale: f32) -> Result<u64, String> {
    let scaled = (size as f32 * scale).floor();
    if (1.0..=1e9).contains(&scaled) {
        Ok(scaled as u64)
    } else {
        Err(format!("{size} cannot be scaled by {scale}"))
    }
}

/// `Reduce...`: the axes are an input from operator set 18 on (`ReduceSum`: always), else an attribute.
pub(super) fn reduce(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.input(0)?;
    let rank = input.dims.len();
    let given = match call.optional_sizes(1)? {
        Some(list) => Some(list),
        None => call.attributes.ints("axes"),
    };
    let reduced = match given {
        Some(list) if !list.is_empty() => axes(list, rank)?,
        _ if call.attributes.int("noop_with_empty_axes", 0) != 0 => vec![],
        _ => (0..rank).collect(),
    };
    let keep = call.attributes.int("keepdims", 1) != 0;
    let dims = (0..rank)
        .filter(|i| keep || !reduced.contains(i))
        .map(|i| {
            if reduced.contains(&i) {
                1
            } else {
                input.dims[i]
            }
        })
        .collect();
    Ok(fresh(input, dims))
}

pub(super) fn shape(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.input(0)?;
    let rank = signed(input.dims.len() as u64)?;
    let bound = |name: &str, default: i64| {
        let place = call.attributes.int(name, default);
        let counted = if place < 0 {
            place.saturating_add(rank)
        } else {
            place
        };
        usize::try_from(counted.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let dims = input.dims.get(start..end).unwrap_or_default();
    let values = dims
        .iter()
        .map(|&d| signed(d))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(vec![Fact::ints(values, false)])
}

/// A tensor of one number, 0 unless given.
pub(super) fn constant_of_shape(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let dims = call
        .sizes(0)?
        .iter()
        .map(|&n| dimension(n))
        .collect::<Result<Vec<_>, _>>()?;
    let element = match call.attributes.tensor_type("value") {
        None => Element::Float,
        Some(number) => element_of(number)?,
    };
    let fact = Fact::new(element, dims);
    let short = fact
        .dims
        .iter()
        .try_fold(1_usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))
        .filter(|&n| element == Element::Int && n <= MAX_KNOWN);
    let known = short.zip(call.attributes.tensor_int("value"));
    let ints = known.map(|(length, value)| vec![value; length]);
    Ok(with_ints(&fact, fact.dims.clone(), ints))
}
