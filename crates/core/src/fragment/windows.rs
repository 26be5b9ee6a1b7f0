//! Shapes of operators that slide windows over rows and columns.

use super::facts::{Call, Fact, written};

/// Largest kernel, stride, dilation or padding.
const MAX_EXTENT: i64 = 1 << 20;

/// Windows along one axis.
#[derive(Clone, Copy)]
struct Window {
    kernel: u64,
    stride: u64,
    dilation: u64,
    before: u64,
    after: u64,
}

impl Window {
    /// How far one window reaches.
    fn reach(&self) -> u64 {
        (self.kernel - 1) * self.dilation + 1
    }

    /// How many windows fit on `size` elements; with `ceil`, the last may reach over the end, but must
    /// not begin in the padding behind it.
    fn count(&self, size: u64, ceil: bool) -> Result<u64, String> {
        let room = (size + self.before + self.after)
            .checked_sub(self.reach())
            .ok_or_else(|| format!("a window of {} does not fit on {size}", self.reach()))?;
        let count = if ceil {
            room.div_ceil(self.stride)
        } else {
            room / self.stride
        } + 1;
        let over = ceil && (count - 1) * self.stride >= size + self.before;
        Ok(count - u64::from(over))
    }
}

/// How padding is given.
#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Explicit,
    /// As many windows as strides begin on the input.
    Same,
    None,
}

fn padding(call: &Call<'_>) -> Result<Padding, String> {
    match call.attributes.string("auto_pad") {
        None | Some("" | "NOTSET") => Ok(Padding::Explicit),
        Some("SAME_UPPER" | "SAME_LOWER") => Ok(Padding::Same),
        Some("VALID") => Ok(Padding::None),
        Some(other) => Err(format!("auto_pad `{other}` is unknown")),
    }
}

/// The extents of an attribute, one for each spatial axis.
fn extents(call: &Call<'_>, name: &str, least: i64, count: usize) -> Result<Vec<u64>, String> {
    let Some(values) = call.attributes.ints(name).filter(|v| !v.is_empty()) else {
        return Ok(vec![least.unsigned_abs(); count]);
    };
    if values.len() != count || !values.iter().all(|v| (least..=MAX_EXTENT).contains(v)) {
        return Err(format!(
            "`{name}` is {values:?} where {count} numbers from {least} are needed"
        ));
    }
    Ok(values.iter().map(|v| v.unsigned_abs()).collect())
}

fn windows(call: &Call<'_>, kernel: &[u64]) -> Result<Vec<Window>, String> {
    let axes = kernel.len();
    let strides = extents(call, "strides", 1, axes)?;
    let dilations = extents(call, "dilations", 1, axes)?;
    let pads = match padding(call)? {
        Padding::Explicit => extents(call, "pads", 0, 2 * axes)?,
        Padding::Same | Padding::None => vec![0; 2 * axes],
    };
    Ok((0..axes)
        .map(|i| Window {
            kernel: kernel[i],
            stride: strides[i],
            dilation: dilations[i],
            before: pads[i],
            after: pads[axes + i],
        })
        .collect())
}

/// Spatial sizes after windows of these kernels.
fn slide(call: &Call<'_>, kernel: &[u64], sizes: &[u64], ceil: bool) -> Result<Vec<u64>, String> {
    let same = padding(call)? == Padding::Same;
    windows(call, kernel)?
        .iter()
        .zip(sizes)
        .map(|(window, &size)| {
            if same {
                Ok(size.div_ceil(window.stride))
            } else {
                window.count(size, ceil)
            }
        })
        .collect()
}

/// Input, weights and number of groups of a convolution, which agree with each other.
fn convolution<'a>(call: &Call<'a>) -> Result<(&'a Fact, &'a Fact, u64), String> {
    let (input, weight) = (call.ranked(3)?, call.input(1)?);
    let groups = call.attributes.int("group", 1);
    let groups = u64::try_from(groups)
        .ok()
        .filter(|&g| g > 0)
        .ok_or_else(|| format!("`group` is {groups}"))?;
    if weight.dims.len() != input.dims.len() || weight.dims.contains(&0) {
        return Err(format!(
            "weights {} do not fit the input {}",
            written(&weight.dims),
            written(&input.dims)
        ));
    }
    if let Some(kernel) = call.attributes.ints("kernel_shape")
        && !kernel
            .iter()
            .map(|k| k.unsigned_abs())
            .eq(weight.dims[2..].iter().copied())
    {
        return Err(format!(
            "`kernel_shape` is {kernel:?} but the weights are {}",
            written(&weight.dims)
        ));
    }
    Ok((input, weight, groups))
}

fn check_bias(call: &Call<'_>, channels: u64) -> Result<(), String> {
    match call.optional(2) {
        Some(bias) if bias.dims != [channels] => Err(format!(
            "the bias is {} for {channels} output channels",
            written(&bias.dims)
        )),
        _ => Ok(()),
    }
}

pub(super) fn conv(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (input, weight, groups) = convolution(call)?;
    let (channels, outputs) = (input.dims[1], weight.dims[0]);
    if weight.dims[1].checked_mul(groups) != Some(channels) || !outputs.is_multiple_of(groups) {
        return Err(format!(
            "weights {} in {groups} groups do not fit {channels} channels",
            written(&weight.dims)
        ));
    }
    check_bias(call, outputs)?;
    let mut dims = vec![input.dims[0], outputs];
    dims.extend(slide(call, &weight.dims[2..], &input.dims[2..], false)?);
    Ok(vec![Fact::float(dims)])
}

pub(super) fn conv_transpose(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (input, weight, groups) = convolution(call)?;
    let channels = input.dims[1];
    if weight.dims[0] != channels || !channels.is_multiple_of(groups) {
        return Err(format!(
            "weights {} in {groups} groups do not fit {channels} channels",
            written(&weight.dims)
        ));
    }
    if padding(call)? != Padding::Explicit || call.attributes.ints("output_shape").is_some() {
        return Err("`auto_pad` and `output_shape` cannot be counted: give `pads`".to_owned());
    }
    let outputs = weight.dims[1]
        .checked_mul(groups)
        .ok_or("too many groups")?;
    check_bias(call, outputs)?;
    let kernel = &weight.dims[2..];
    let extra = extents(call, "output_padding", 0, kernel.len())?;
    let mut dims = vec![input.dims[0], outputs];
    for ((window, &size), extra) in windows(call, kernel)?
        .iter()
        .zip(&input.dims[2..])
        .zip(extra)
    {
        let covered = window.stride * (size - 1) + window.reach() + extra;
        let padded = window.before + window.after;
        dims.push(
            covered
                .checked_sub(padded)
                .ok_or("the padding takes everything away")?,
        );
    }
    Ok(vec![Fact::float(dims)])
}

pub(super) fn pool(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(3)?;
    let axes = input.dims.len() - 2;
    if call.attributes.ints("kernel_shape").is_none() {
        return Err("`kernel_shape` is missing".to_owned());
    }
    let kernel = extents(call, "kernel_shape", 1, axes)?;
    let ceil = call.attributes.int("ceil_mode", 0) != 0;
    let mut dims = input.dims[..2].to_vec();
    dims.extend(slide(call, &kernel, &input.dims[2..], ceil)?);
    Ok(vec![Fact::float(dims)])
}

pub(super) fn global_pool(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let input = call.ranked(3)?;
    let mut dims = vec![1; input.dims.len()];
    dims[..2].copy_from_slice(&input.dims[..2]);
    Ok(vec![Fact::float(dims)])
}
