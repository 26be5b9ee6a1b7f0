//! Matrix products, and how many products operators compute.

use super::elementwise::broadcast_dims;
use super::facts::{Call, Fact, written};

/// No products.
pub(super) fn none(_: &Call<'_>, _: &Fact) -> u64 {
    0
}

/// Every number of the output takes one product for each weight of its channel.
pub(super) fn conv(call: &Call<'_>, output: &Fact) -> u64 {
    let per_output = call
        .optional(1)
        .map_or(0, |w| w.dims.iter().skip(1).product());
    output.elements().saturating_mul(per_output)
}

/// Every number of the input is multiplied with each weight of its channel.
pub(super) fn conv_transpose(call: &Call<'_>, _: &Fact) -> u64 {
    let per_input: u64 = call
        .optional(1)
        .map_or(0, |w| w.dims.iter().skip(1).product());
    call.optional(0)
        .map_or(0, Fact::elements)
        .saturating_mul(per_input)
}

/// Rows and columns of a factor of `Gemm`.
fn matrix(call: &Call<'_>, index: usize, transposed: &str) -> Result<[u64; 2], String> {
    let dims = &call.input(index)?.dims;
    match *dims.as_slice() {
        [rows, columns] if call.attributes.int(transposed, 0) == 0 => Ok([rows, columns]),
        [columns, rows] => Ok([rows, columns]),
        _ => Err(format!("{} is not a matrix", written(dims))),
    }
}

pub(super) fn gemm(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let ([rows, inner], [other, columns]) =
        (matrix(call, 0, "transA")?, matrix(call, 1, "transB")?);
    if inner != other {
        return Err(format!(
            "{rows} x {inner} and {other} x {columns} do not fit"
        ));
    }
    let dims = vec![rows, columns];
    if let Some(shift) = call.optional(2)
        && broadcast_dims(&dims, &shift.dims)? != dims
    {
        return Err(format!("{} does not fit the product", written(&shift.dims)));
    }
    Ok(vec![Fact::float(dims)])
}

pub(super) fn gemm_products(call: &Call<'_>, output: &Fact) -> u64 {
    let inner = matrix(call, 0, "transA").map_or(0, |[_, inner]| inner);
    output.elements().saturating_mul(inner)
}

/// NumPy's `matmul`: the last two dimensions are matrices, the others a batch.
pub(super) fn matmul(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let (a, b) = (&call.input(0)?.dims, &call.input(1)?.dims);
    let misfit = || format!("{} and {} do not fit", written(a), written(b));
    let (Some(&inner), false) = (a.last(), b.is_empty()) else {
        return Err(misfit());
    };
    let (batch_a, rows) = match a.len() {
        1 => (&[][..], None),
        n => (&a[..n - 2], Some(a[n - 2])),
    };
    let (batch_b, other, columns) = match b.len() {
        1 => (&[][..], b[0], None),
        n => (&b[..n - 2], b[n - 2], Some(b[n - 1])),
    };
    if inner != other {
        return Err(misfit());
    }
    let mut dims = broadcast_dims(batch_a, batch_b)?;
    dims.extend(rows);
    dims.extend(columns);
    Ok(vec![Fact::float(dims)])
}

pub(super) fn matmul_products(call: &Call<'_>, output: &Fact) -> u64 {
    let inner = call
        .optional(0)
        .and_then(|a| a.dims.last().copied())
        .unwrap_or(0);
    output.elements().saturating_mul(inner)
}
