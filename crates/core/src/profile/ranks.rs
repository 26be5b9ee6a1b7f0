//! What is best, what is second, and what cannot be told apart.
//!
//! Every pair of a family is compared, all ordered pairs at once, by the step-down maximum of their joint distribution
//! (Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks", Review of Economic Studies 2024; Mohamad, Goeman and
//! van Zwet 2019). What is surely better than k others has rank n - k at worst, and what k others are surely better
//! than has rank k + 1 at best. With 95 % probability all true ranks of the family lie within.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::means::Contrast;
use super::simultaneous::FAMILY_ALPHA;
use super::summarise::{attributes, averaged};
use super::variance::JointDraws;
use super::{Estimate, Layout, Means, Uncertainty};
use crate::metric::Direction;
use crate::space::{Block, BlockId, DesignSpace, Placement};
use crate::stats::max_t::{MaxT, Sides};
use crate::stats::{mean, variance};

/// What is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankOf {
    /// Blocks, by their mean effect over placements.
    Blocks,
    /// Kernels, by their mean effect over placements.
    Kernels,
    /// Expansions, by their mean effect over placements.
    Expansions,
    /// Depths of a unit.
    Depths,
    /// Placements, by how much the choice of the block there moves the metric: the largest first.
    Placements,
}

/// One of the things ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// What it is: a block's name, `5x5`, `expansion 4`, `3 layers`, `unit 2, layer 1`.
    pub name: String,
    /// What it is ranked by, in the metric's unit: a mean effect; for placements the standard deviation that the choice
    /// of the block gives to the metric.
    pub score: Estimate,
    /// The best rank that the data allow, counted from 1.
    pub best: usize,
    /// The worst.
    pub worst: usize,
}

/// A family of things with the ranks that each may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// What is ranked.
    pub of: RankOf,
    /// The unit, counted from 1; `None` for the whole network.
    pub unit: Option<usize>,
    /// Best estimate first.
    pub items: Vec<Ranked>,
}

/// All rankings of a metric.
pub(super) fn rankings(
    space: &DesignSpace,
    layout: &Layout,
    direction: Direction,
    means: &Means,
    draws: &JointDraws,
) -> Vec<Ranking> {
    let mut all = Vec::new();
    for unit in std::iter::once(None).chain((0..layout.units()).map(Some)) {
        for (of, items) in averages(space, layout, unit) {
            all.extend(linear(means, direction, of, unit, items));
        }
        if let Some(u) = unit {
            let depths = layout.depths(u).map(|d| {
                let layers = if d == 1 { "layer" } else { "layers" };
                (format!("{d} {layers}"), layout.depth_effect(u, d))
            });
            all.extend(linear(
                means,
                direction,
                RankOf::Depths,
                unit,
                depths.collect(),
            ));
        }
    }
    all.extend(placements(layout, means, draws));
    all
}

/// The blocks, kernels and expansions of a unit or of the whole network, as mean effects.
fn averages(
    space: &DesignSpace,
    layout: &Layout,
    unit: Option<usize>,
) -> [(RankOf, Vec<(String, Contrast)>); 3] {
    let (kernels, expansions) = attributes(space);
    let mut blocks: Vec<&Block> = layout
        .placements()
        .filter(|p| unit.is_none_or(|u| p.unit == u) && layout.blocks(*p) > 1)
        .flat_map(|p| space.blocks(p))
        .collect();
    blocks.sort_unstable();
    blocks.dedup();
    let of_block = |block: &&Block| (block.to_string(), block_average(space, layout, unit, block));
    let of_kernel = |k: &u32| {
        let contrast = averaged(space, layout, unit, Some(*k), None);
        (format!("{k}x{k}"), contrast)
    };
    let of_expansion = |e: &crate::space::Ratio| {
        let contrast = averaged(space, layout, unit, None, Some(*e));
        (format!("expansion {e}"), contrast)
    };
    [
        (RankOf::Blocks, blocks.iter().map(of_block).collect()),
        (RankOf::Kernels, kernels.iter().map(of_kernel).collect()),
        (
            RankOf::Expansions,
            expansions.iter().map(of_expansion).collect(),
        ),
    ]
}

/// The mean effect of a block over the placements of a unit (all units when `None`) that offer it.
fn block_average(
    space: &DesignSpace,
    layout: &Layout,
    unit: Option<usize>,
    block: &Block,
) -> Contrast {
    let at = |p: Placement| layout.subset_effect(p, &|b: BlockId| space.block(p, b) == block);
    let placements = layout
        .placements()
        .filter(|p| layout.blocks(*p) > 1 && unit.is_none_or(|u| p.unit == u));
    let contrasts: Vec<Contrast> = placements.map(at).filter(|c| !c.is_empty()).collect();
    super::means::average(&contrasts)
}

/// Ranks things by a linear function of the means; `None` where there are not two.
fn linear(
    means: &Means,
    direction: Direction,
    of: RankOf,
    unit: Option<usize>,
    mut items: Vec<(String, Contrast)>,
) -> Option<Ranking> {
    items.retain(|(_, contrast)| !contrast.is_empty());
    if items.len() < 2 {
        return None;
    }
    let (names, contrasts): (Vec<String>, Vec<Contrast>) = items.into_iter().unzip();
    let scores: Vec<Estimate> = contrasts.iter().map(|c| means.contrast(c)).collect();
    let family = MaxT::of_differences(&means.joint(&contrasts), means.joint_degrees_of_freedom);
    // The first of a pair is better where this is above 0.
    let sign = match direction {
        Direction::HigherIsBetter => 1.0,
        Direction::LowerIsBetter => -1.0,
    };
    let goodness: Vec<f64> = scores.iter().map(|s| sign * s.value).collect();
    Some(ranking(of, unit, names, &scores, &goodness, &family))
}

/// Ranks placements by the standard deviation that their choice of a block gives to the metric. That is no linear
/// function, so the family's distribution is that of draws.
fn placements(layout: &Layout, means: &Means, draws: &JointDraws) -> Option<Ranking> {
    let places: Vec<Placement> = layout
        .placements()
        .filter(|p| layout.blocks(*p) > 1)
        .collect();
    if places.len() < 2 || draws.is_empty() {
        return None;
    }
    let score = |values: &[f64], p: Placement| {
        let here: Vec<f64> = layout
            .block_ids(p)
            .map(|b| values[layout.block(p, b)])
            .collect();
        let center = mean(&here);
        let squares: Vec<f64> = here.iter().map(|v| (v - center).powi(2)).collect();
        (layout.active_probability(p) * mean(&squares)).sqrt()
    };
    let mut drawn = DMatrix::from_fn(places.len(), draws.len(), |i, d| {
        score(draws.get(d), places[i])
    });
    let mut scores = Vec::new();
    for (i, &place) in places.iter().enumerate() {
        let row: Vec<f64> = drawn.row(i).iter().copied().collect();
        let (average, plain) = (mean(&row), score(&means.values, place));
        // Noise makes a standard deviation larger; see `variance`.
        let value = match means.uncertainty {
            Uncertainty::Posterior => average,
            Uncertainty::Sampling => (2.0 * plain - average).max(0.0),
        };
        scores.push(means.estimate(value, variance(&row).sqrt()));
        drawn.row_mut(i).add_scalar_mut(-average);
    }
    let names = places.iter().map(|p| {
        let (unit, layer) = (p.unit + 1, p.layer + 1);
        format!("unit {unit}, layer {layer}")
    });
    let goodness: Vec<f64> = scores.iter().map(|s| s.value).collect();
    let family = MaxT::of_drawn_differences(drawn);
    let ranking = ranking(
        RankOf::Placements,
        None,
        names.collect(),
        &scores,
        &goodness,
        &family,
    );
    Some(ranking)
}

fn ranking(
    of: RankOf,
    unit: Option<usize>,
    names: Vec<String>,
    scores: &[Estimate],
    goodness: &[f64],
    family: &MaxT,
) -> Ranking {
    let (better, worse) = sure_pairs(goodness, family);
    let n = names.len();
    let mut items: Vec<(f64, Ranked)> = names
        .into_iter()
        .enumerate()
        .map(|(i, name)| {
            let ranked = Ranked {
                name,
                score: scores[i],
                best: 1 + worse[i],
                worst: n - better[i],
            };
            (goodness[i], ranked)
        })
        .collect();
    items.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    Ranking {
        of,
        unit: unit.map(|u| u + 1),
        items: items.into_iter().map(|(_, ranked)| ranked).collect(),
    }
}

/// For everything, how many others it is surely better than, and how many are surely better than it.
fn sure_pairs(goodness: &[f64], family: &MaxT) -> (Vec<usize>, Vec<usize>) {
    let n = goodness.len();
    let pairs: Vec<(usize, usize, f64)> = family.difference_errors().collect();
    let difference = |i: usize, j: usize| goodness[i] - goodness[j];
    let t: Vec<f64> = pairs
        .iter()
        .map(|&(i, j, se)| if se > 0.0 { difference(i, j) / se } else { 0.0 })
        .collect();
    let p = family.step_down(&t, Sides::Upper);
    let (mut better, mut worse) = (vec![0; n], vec![0; n]);
    for (&(i, j, se), p) in pairs.iter().zip(p) {
        // A difference without error is what it is.
        let sure = if se > 0.0 {
            p < FAMILY_ALPHA
        } else {
            difference(i, j) > 0.0
        };
        if sure {
            better[i] += 1;
            worse[j] += 1;
        }
    }
    (better, worse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::stats::standard_normal;

    fn items(n: usize) -> Vec<(String, Contrast)> {
        (0..n).map(|i| (i.to_string(), vec![(i, 1.0)])).collect()
    }

    fn means(values: Vec<f64>, covariance: Vec<f64>) -> Means {
        Means {
            values,
            covariance,
            uncertainty: Uncertainty::Sampling,
            degrees_of_freedom: f64::INFINITY,
            joint_degrees_of_freedom: f64::INFINITY,
            sd: 1.0,
            held_out_r2: None,
            additive: None,
            spreads: None,
        }
    }

    fn rank(means: &Means, direction: Direction) -> Ranking {
        let n = means.values.len();
        linear(means, direction, RankOf::Blocks, None, items(n)).unwrap()
    }

    /// Errors with unequal variances and a shared part, truths close enough that nothing is told apart easily.
    #[test]
    fn rank_sets_hold_the_true_ranks() {
        let truth = [0.0, 0.0, 1.2, 2.0, 2.1, 5.0];
        let n = truth.len();
        let scale = |i: usize| 0.5 + 0.15 * i as f64;
        let covariance: Vec<f64> = (0..n * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                0.3 + if i == j { scale(i).powi(2) } else { 0.0 }
            })
            .collect();
        let mut rng = Seed(8).rng();
        let runs = 300;
        let (mut held, mut narrower) = (0, 0);
        for _ in 0..runs {
            let shared = 0.3_f64.sqrt() * standard_normal(&mut rng);
            let values = truth.iter().enumerate();
            let values = values.map(|(i, t)| t + shared + scale(i) * standard_normal(&mut rng));
            let ranking = rank(
                &means(values.collect(), covariance.clone()),
                Direction::LowerIsBetter,
            );
            held += u32::from(ranking.items.iter().all(|item| {
                let mine = truth[item.name.parse::<usize>().unwrap()];
                // Equal truths share ranks: any of them is true.
                let best = 1 + truth.iter().filter(|t| **t < mine).count();
                let worst = truth.iter().filter(|t| **t <= mine).count();
                item.best <= best && item.worst >= worst
            }));
            narrower += u32::from(ranking.items.iter().any(|i| i.worst - i.best < n - 1));
        }
        assert!(
            held >= 276,
            "{held} of {runs}: at least 95 %, less three errors of the count"
        );
        assert!(narrower > 270, "{narrower}");
    }

    #[test]
    fn what_is_clear_is_ranked_and_what_is_equal_is_not() {
        let diagonal = |v: f64| {
            (0..16)
                .map(|at| if at % 5 == 0 { v } else { 0.0 })
                .collect::<Vec<f64>>()
        };
        let clear = rank(
            &means(vec![3.0, 1.0, 2.0, 4.0], diagonal(1e-4)),
            Direction::HigherIsBetter,
        );
        let told: Vec<(&str, usize, usize)> = clear
            .items
            .iter()
            .map(|i| (&*i.name, i.best, i.worst))
            .collect();
        assert_eq!(told, [("3", 1, 1), ("0", 2, 2), ("2", 3, 3), ("1", 4, 4)]);
        let open = rank(
            &means(vec![3.0, 1.0, 2.0, 4.0], diagonal(1e4)),
            Direction::LowerIsBetter,
        );
        assert!(open.items.iter().all(|i| (i.best, i.worst) == (1, 4)));
        // Without any error order is certain, and equal things stay together.
        let exact = rank(
            &means(vec![3.0, 1.0, 1.0, 4.0], diagonal(0.0)),
            Direction::LowerIsBetter,
        );
        let told: Vec<(usize, usize)> = exact.items.iter().map(|i| (i.best, i.worst)).collect();
        assert_eq!(told, [(1, 2), (1, 2), (3, 3), (4, 4)]);
    }
}
