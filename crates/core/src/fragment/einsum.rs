//! `Einsum`: sums of products named by their indices, such as `bhid,bhjd->bhij`.

use std::collections::BTreeMap;

use super::facts::{Call, Fact, written};

/// Most indices of one operator.
const MAX_INDICES: usize = 64;

/// An index: a letter of the equation, or a dimension that `...` stands for, counted from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Index {
    Rest(usize),
    Letter(char),
}

/// An equation with what its indices stand for.
struct Equation {
    output: Vec<Index>,
    extents: BTreeMap<Index, u64>,
}

/// One term of an equation: letters before `...` and behind it; `None` where there is no `...`.
struct Term {
    before: Vec<char>,
    after: Option<Vec<char>>,
}

fn term(text: &str) -> Result<Term, String> {
    let letters = |part: &str| -> Result<Vec<char>, String> {
        let odd = part.chars().find(|c| !c.is_ascii_alphabetic());
        match odd {
            Some(c) => Err(format!("`{c}` is no index")),
            None => Ok(part.chars().collect()),
        }
    };
    match text.split_once("...") {
        None => Ok(Term {
            before: letters(text)?,
            after: None,
        }),
        Some((before, after)) => Ok(Term {
            before: letters(before)?,
            after: Some(letters(after)?),
        }),
    }
}

impl Term {
    /// The indices of a tensor of `rank` dimensions.
    fn indices(&self, rank: usize) -> Option<Vec<Index>> {
        let letters = |list: &[char]| list.iter().map(|&c| Index::Letter(c)).collect::<Vec<_>>();
        let named = self.before.len() + self.after.as_ref().map_or(0, Vec::len);
        let rest = rank.checked_sub(named)?;
        if self.after.is_none() && rest > 0 {
            return None;
        }
        let mut indices = letters(&self.before);
        indices.extend((0..rest).rev().map(Index::Rest));
        indices.extend(letters(self.after.as_deref().unwrap_or_default()));
        Some(indices)
    }

    fn letters(&self) -> impl Iterator<Item = char> + '_ {
        self.before
            .iter()
            .chain(self.after.iter().flatten())
            .copied()
    }
}

fn equation(call: &Call<'_>) -> Result<Equation, String> {
    let text = call
        .attributes
        .string("equation")
        .ok_or("`equation` is missing")?;
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match text.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (text.as_str(), None),
    };
    let terms = inputs.split(',').map(term).collect::<Result<Vec<_>, _>>()?;
    if terms.len() != call.inputs.len() {
        let (found, wanted) = (call.inputs.len(), terms.len());
        return Err(format!(
            "`{text}` is of {wanted} tensors, and there are {found}"
        ));
    }
    let mut extents = BTreeMap::new();
    for (place, term) in terms.iter().enumerate() {
        let dims = &call.input(place)?.dims;
        let indices = term
            .indices(dims.len())
            .ok_or_else(|| format!("{} does not fit `{text}`", written(dims)))?;
        for (&index, &extent) in indices.iter().zip(dims) {
            let known = extents.entry(index).or_insert(extent);
            // Dimensions of 1 stretch, as everywhere.
            match (*known, extent) {
                (a, b) if a == b || b == 1 => {}
                (1, b) => *known = b,
                (a, b) => return Err(format!("in `{text}` one index is {a} and {b}")),
            }
        }
    }
    if extents.len() > MAX_INDICES {
        return Err(format!("`{text}` has more than {MAX_INDICES} indices"));
    }
    let output = match output {
        Some(output) => explicit(&term(output)?, &extents),
        None => Some(implicit(&terms, &extents)),
    };
    let output = output.ok_or_else(|| format!("`{text}` does not name its result"))?;
    Ok(Equation { output, extents })
}

/// How many dimensions `...` stands for: the most of any tensor.
fn rest(extents: &BTreeMap<Index, u64>) -> usize {
    let rest = |index: &&Index| matches!(index, Index::Rest(_));
    extents.keys().filter(rest).count()
}

fn explicit(output: &Term, extents: &BTreeMap<Index, u64>) -> Option<Vec<Index>> {
    let named = output.letters().count();
    let rest = if output.after.is_some() {
        rest(extents)
    } else {
        0
    };
    let indices = output.indices(named + rest)?;
    let mut seen = indices.clone();
    seen.sort_unstable();
    seen.dedup();
    let known = indices.iter().all(|index| extents.contains_key(index));
    (known && seen.len() == indices.len()).then_some(indices)
}

/// Without `->`, the result has what `...` stands for and then every letter that occurs once, in alphabetical order.
fn implicit(terms: &[Term], extents: &BTreeMap<Index, u64>) -> Vec<Index> {
    let mut counts = BTreeMap::<char, usize>::new();
    for letter in terms.iter().flat_map(Term::letters) {
        *counts.entry(letter).or_default() += 1;
    }
    let once = counts.into_iter().filter(|(_, count)| *count == 1);
    let rest = (0..rest(extents)).rev().map(Index::Rest);
    rest.chain(once.map(|(letter, _)| Index::Letter(letter)))
        .collect()
}

pub(super) fn einsum(call: &Call<'_>) -> Result<Vec<Fact>, String> {
    let equation = equation(call)?;
    let dims = equation.output.iter().map(|index| equation.extents[index]);
    Ok(vec![Fact {
        element: call.input(0)?.element,
        ..Fact::float(dims.collect())
    }])
}

/// One product of two tensors for every combination of all indices; sums of one tensor have none.
pub(super) fn products(call: &Call<'_>, _: &Fact) -> u64 {
    if call.inputs.len() < 2 {
        return 0;
    }
    equation(call).map_or(0, |equation| {
        let extents = equation.extents.values();
        extents.fold(1_u64, |all, &extent| all.saturating_mul(extent))
    })
}

/// How many products make up one number of the result.
pub(super) fn summed(call: &Call<'_>) -> u64 {
    equation(call).map_or(1, |equation| {
        let summed = equation.extents.iter();
        let summed = summed.filter(|(index, _)| !equation.output.contains(index));
        summed.fold(1_u64, |all, (_, &extent)| all.saturating_mul(extent))
    })
}
