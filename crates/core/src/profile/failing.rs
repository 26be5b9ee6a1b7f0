//! Whether architectures fail because of what they are: then a profile of the others is about another space.

#![allow(clippy::cast_precision_loss)] // counts and costs

use statrs::function::factorial::ln_binomial;

use crate::measurement::FailingWith;
use crate::network::CostTable;
use crate::space::{Architecture, DesignSpace, UnitChoice};
use crate::stats::groups::mann_whitney;
use crate::stats::mean;
use crate::stats::multiple::holm;

/// Corrected p values below which failures are said to go with something.
const SURE: f64 = 0.01;
/// Of fewer failures no share can be told from chance, once it is corrected for all that is looked at.
const FEWEST: usize = 4;
/// MACs per million.
const MILLION: f64 = 1e6;

/// What failures go with most surely, if they surely go with anything: the work of an architecture, its depth, that
/// of a unit, how often it has a block, or what a unit has. Ranks are compared by Mann and Whitney's test, shares by
/// Fisher's.
#[must_use]
pub fn failing_with(
    space: &DesignSpace,
    failed: &[&Architecture],
    others: &[&Architecture],
) -> Option<FailingWith> {
    if failed.len() < FEWEST || others.len() < FEWEST {
        return None;
    }
    let mut found: Vec<FailingWith> = Vec::new();
    for property in properties(space, failed) {
        let of = |archs: &[&Architecture]| -> Vec<f64> {
            archs.iter().map(|arch| (property.of)(arch)).collect()
        };
        let groups = [of(failed), of(others)];
        found.extend(property.p(&groups).map(|p| FailingWith {
            what: property.name,
            failed: mean(&groups[0]),
            others: mean(&groups[1]),
            p,
        }));
    }
    let p: Vec<f64> = found.iter().map(|f| f.p).collect();
    for (one, p) in found.iter_mut().zip(holm(&p)) {
        one.p = p;
    }
    // Of equally sure ones the first: work before depth before blocks.
    let surest = found.into_iter().min_by(|a, b| a.p.total_cmp(&b.p));
    surest.filter(|f| f.p < SURE)
}

/// A number that an architecture has.
struct Property<'a> {
    name: String,
    /// Whether it is 0 or 1.
    share: bool,
    of: Box<dyn Fn(&Architecture) -> f64 + 'a>,
}

impl Property<'_> {
    /// p value of "it is the same in both groups"; `None` where it is the same for all.
    #[allow(clippy::float_cmp)] // the same number
    fn p(&self, [failed, others]: &[Vec<f64>; 2]) -> Option<f64> {
        let first = failed.first()?;
        if failed.iter().chain(others).all(|value| value == first) {
            return None;
        }
        if !self.share {
            return mann_whitney(failed, others).map(|test| test.p);
        }
        let count = |group: &[f64]| group.iter().filter(|value| **value > 0.0).count() as u64;
        let sizes = [failed.len() as u64, others.len() as u64];
        Some(fisher([count(failed), count(others)], sizes))
    }
}

fn properties<'a>(space: &'a DesignSpace, archs: &[&Architecture]) -> Vec<Property<'a>> {
    let property = |name: String, of: Box<dyn Fn(&Architecture) -> f64 + 'a>| Property {
        name,
        share: false,
        of,
    };
    let mut all = Vec::new();
    let resolution = archs.first().map(|arch| arch.resolution());
    if let Some(costs) = resolution.and_then(|r| CostTable::new(space, r).ok()) {
        let macs = move |arch: &Architecture| costs.cost(arch).macs.0 as f64 / MILLION;
        all.push(property("millions of MACs".into(), Box::new(macs)));
    }
    let depth = |arch: &Architecture| arch.active().count() as f64;
    all.push(property("layers".into(), Box::new(depth)));
    for (number, unit) in space.units().iter().enumerate() {
        let layers = move |arch: &Architecture| arch.depth(number) as f64;
        all.push(property(
            format!("layers of unit {}", number + 1),
            Box::new(layers),
        ));
        for width in 0..unit.width_choices() {
            let has = move |choice: UnitChoice<'_>| usize::from(choice.width) == width;
            all.push(share(
                format!("width {} of unit {}", width + 1, number + 1),
                number,
                has,
            ));
        }
    }
    all.extend(blocks(space));
    all
}

/// How often an architecture has a block, and whether a unit has it.
fn blocks(space: &DesignSpace) -> Vec<Property<'_>> {
    let mut names: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for (number, unit) in space.units().iter().enumerate() {
        let mut here: Vec<String> = Vec::new();
        for layer in 0..unit.max_depth() {
            for name in unit.blocks(layer).iter().map(ToString::to_string) {
                if !here.contains(&name) {
                    here.push(name);
                }
            }
        }
        for name in here {
            let wanted = name.clone();
            let of = move |arch: &Architecture| {
                let mut active = arch.active();
                let has = active.any(|(place, block)| {
                    place.unit == number && space.block(place, block).to_string() == wanted
                });
                f64::from(u8::from(has))
            };
            all.push(Property {
                name: format!("{name} in unit {}", number + 1),
                share: true,
                of: Box::new(of),
            });
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let counted = names.into_iter().map(|name| {
        let wanted = name.clone();
        let of = move |arch: &Architecture| {
            let active = arch.active();
            active
                .filter(|(place, block)| space.block(*place, *block).to_string() == wanted)
                .count() as f64
        };
        Property {
            name: format!("layers of {name}"),
            share: false,
            of: Box::new(of),
        }
    });
    counted.collect::<Vec<_>>().into_iter().chain(all).collect()
}

fn share<'a>(name: String, unit: usize, has: impl Fn(UnitChoice<'_>) -> bool + 'a) -> Property<'a> {
    Property {
        name,
        share: true,
        of: Box::new(move |arch: &Architecture| f64::from(u8::from(has(arch.unit(unit))))),
    }
}

/// Fisher's exact test that two groups of these sizes have equal shares: twice the smaller tail.
fn fisher(counts: [u64; 2], sizes: [u64; 2]) -> f64 {
    let (marked, all) = (counts[0] + counts[1], sizes[0] + sizes[1]);
    let ways = |x: u64| {
        let ln = ln_binomial(sizes[0], x) + ln_binomial(sizes[1], marked - x);
        (ln - ln_binomial(all, marked)).exp()
    };
    let (least, most) = (marked.saturating_sub(sizes[1]), marked.min(sizes[0]));
    let lower: f64 = (least..=counts[0]).map(ways).sum();
    let upper: f64 = (counts[0]..=most).map(ways).sum();
    (2.0 * lower.min(upper)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Estimator, Pooled};
    use crate::seed::Seed;

    fn archs(space: &DesignSpace, count: u64) -> Vec<Architecture> {
        let draw = |index| Pooled.draw(space, 128, Seed(5), index).unwrap().arch;
        (0..count).map(draw).collect()
    }

    fn told(
        space: &DesignSpace,
        all: &[Architecture],
        fails: &dyn Fn(usize) -> bool,
    ) -> Option<FailingWith> {
        let group = |failed: bool| -> Vec<&Architecture> {
            let chosen = all.iter().enumerate().filter(|(i, _)| fails(*i) == failed);
            chosen.map(|(_, arch)| arch).collect()
        };
        failing_with(space, &group(true), &group(false))
    }

    #[test]
    fn failures_of_large_ones_are_told_from_failures_by_chance() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let all = archs(&space, 150);
        let depths: Vec<usize> = all.iter().map(|arch| arch.active().count()).collect();
        let large = told(&space, &all, &|i| depths[i] >= 17).unwrap();
        assert!(large.failed > large.others && large.p < 1e-6, "{large:?}");
        // By chance: a draw that does not look at the architecture, many times over.
        let mut claims = 0;
        for seed in 0..100_usize {
            let fails = |i: usize| (i * 7_919 + seed * 104_729 + i * i * 31 + seed * i) % 10 < 3;
            claims += usize::from(told(&space, &all, &fails).is_some());
        }
        assert!(claims <= 3, "{claims} of 100");
        assert!(told(&space, &all, &|i| i < 3).is_none());
    }

    #[test]
    fn failures_of_one_block_name_it() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let all = archs(&space, 300);
        let has = |arch: &Architecture| {
            let mut active = arch.active();
            active.any(|(place, block)| {
                place.unit == 4 && space.block(place, block).to_string() == "mbconv3_e6_k7"
            })
        };
        let block = told(&space, &all, &|i| has(&all[i])).unwrap();
        assert_eq!(block.what, "mbconv3_e6_k7 in unit 5");
        assert!(block.failed > 0.99 && block.others < 0.01);
    }

    /// `2 * min(hypergeom.cdf, hypergeom.sf)` of SciPy.
    #[test]
    fn fisher_is_exact() {
        for (counts, sizes, p) in [
            ([3, 0], [3, 3], 0.1),
            ([1, 9], [10, 12], 0.007_008_471_404_756_235),
            ([5, 5], [10, 10], 1.0),
        ] {
            let ours = fisher(counts, sizes);
            assert!((ours - p).abs() < 1e-9, "{counts:?}: {ours}");
        }
    }
}
