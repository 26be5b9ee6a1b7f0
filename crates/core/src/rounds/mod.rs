//! Networks on devices that were timed in rounds -> how fast each is, which is faster, by how much, and how surely.
//!
//! An *entry* is a network on a device. In every *round* each entry has one *session*, a process of its own, in random
//! order; entries of one place (a device, or all engines of one processor) take turns, inference by inference, with
//! that place's *base*. What is compared is what sessions say, one number a round, so that an interval holds what
//! differs from process to process, which no number of inferences within one averages out.
//!
//! Within a place a round says how many times as long as the base each entry takes; between places, which have no
//! common pace, how long each takes. Either way the difference of two entries' logarithms is one number a round, and
//! its mean has an interval of Student's t ([`contrast`]).

mod answer;
mod page;
mod report;

pub use answer::answer;
pub use page::markdown;
pub use report::{
    DeviceReport, Doubt, Ending, EntryReport, NetworkReport, Relative, Report, Session, Settings,
    Verdict,
};

use crate::measurement::Sample;
use crate::stats::{critical_t, mean, quantile, variance};

/// Fewest rounds before the precision asked for may end them: with fewer, too many sets of rounds agree by chance.
pub const FEWEST_ROUNDS: usize = 6;

/// The probability that an interval of Student's t misses. Rounds end when intervals are narrow, and narrow ones are
/// rather those that miss: at 3 % in each, 95 % of the intervals hold the truth wherever the rounds ended (see the
/// tests), between 2 and 30 rounds.
const MISSES: f64 = 0.03;

/// Fewest undisturbed pairs of inferences that a ratio may rest on; with fewer, all pairs count.
const FEWEST_UNDISTURBED: usize = 5;

/// What a session says of its entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The natural logarithm of the steady state in ms.
    pub log_ms: f64,
    /// That of the multiple of the entry that it took turns with, and which that was; 0 and itself for the base.
    pub beside: Option<(usize, f64)>,
}

/// What the sessions of one round say, one place for every entry; `None` where there is no session.
pub type Round = Vec<Option<Reading>>;

/// The logarithm of how many times as long as their partner inferences take that took turns with it: the median over
/// pairs of neighbours, of which neither was disturbed. There is one inference of the partner before each sample; what
/// comes after the last is not needed. `None` without pairs.
///
/// Pairs and not multiples of what is around a sample: where both networks are the same, a pair is as often above 0 as
/// below, however inferences spread.
#[must_use]
pub fn log_ratio(samples: &[Sample], partner: &[Sample], single_threaded: bool) -> Option<f64> {
    let pairs = partner.iter().zip(samples).map(|(p, s)| {
        let disturbed = p.disturbed(single_threaded) || s.disturbed(single_threaded);
        ((s.wall.get() / p.wall.get()).ln(), disturbed)
    });
    let pairs: Vec<(f64, bool)> = pairs.collect();
    let undisturbed: Vec<f64> = pairs.iter().filter(|p| !p.1).map(|p| p.0).collect();
    if undisturbed.len() >= FEWEST_UNDISTURBED {
        return quantile(&undisturbed, 0.5);
    }
    let all: Vec<f64> = pairs.into_iter().map(|p| p.0).collect();
    quantile(&all, 0.5)
}

/// How one entry compares with another, from all rounds that say something of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// The mean logarithm of the ratio of their times.
    pub log: f64,
    /// Half of the width of its interval; `None` where one round says nothing of how rounds spread.
    pub half_width: Option<f64>,
    /// The rounds that it rests on.
    pub rounds: usize,
}

/// The ratio of `a`'s time to `b`'s; `None` where no round has both. `comparisons` are corrected for, so that all of
/// them hold together (Bonferroni).
#[must_use]
pub fn contrast(rounds: &[Round], a: usize, b: usize, comparisons: usize) -> Option<Contrast> {
    let differences: Vec<f64> = rounds.iter().filter_map(|r| difference(r, a, b)).collect();
    let count = differences.len();
    if count == 0 {
        return None;
    }
    let error = (variance(&differences) / count as f64).sqrt();
    let misses = MISSES / comparisons.max(1) as f64;
    let half_width = (count > 1).then(|| critical_t(misses, (count - 1) as f64) * error);
    Some(Contrast {
        log: mean(&differences),
        half_width,
        rounds: count,
    })
}

fn difference(round: &Round, a: usize, b: usize) -> Option<f64> {
    let beside = |entry: usize| (*round.get(entry)?)?.beside;
    match (beside(a), beside(b)) {
        (Some((base, a)), Some((same, b))) if base == same => Some(a - b),
        _ => Some(log_ms(round, a)? - log_ms(round, b)?),
    }
}

/// The logarithm of an entry's time in a round: what took turns with a base took that multiple of the base's time,
/// which all sessions beside it tell.
fn log_ms(round: &Round, entry: usize) -> Option<f64> {
    let own = (*round.get(entry)?)?;
    let base = own.beside.and_then(|(base, log)| {
        let base = (*round.get(base)?)?;
        Some(base.log_ms + log)
    });
    Some(base.unwrap_or(own.log_ms))
}

/// How long an entry takes, in ms: the geometric mean over rounds, and where the next round will lie with 95 %
/// probability. That is wider than an interval of the mean, and does not shrink to nothing with more rounds: a
/// machine's pace is no constant that measuring long enough would reveal.
#[must_use]
pub fn level(rounds: &[Round], entry: usize) -> Option<(f64, Option<(f64, f64)>)> {
    let logs: Vec<f64> = rounds.iter().filter_map(|r| log_ms(r, entry)).collect();
    if logs.is_empty() {
        return None;
    }
    let (count, middle) = (logs.len() as f64, mean(&logs));
    let spread = (variance(&logs) * (1.0 + 1.0 / count)).sqrt();
    let interval = (logs.len() > 1).then(|| {
        let half_width = critical_t(0.05, count - 1.0) * spread;
        ((middle - half_width).exp(), (middle + half_width).exp())
    });
    Some((middle.exp(), interval))
}

/// The entry that takes least, by the rounds so far: every ratio is told to it.
#[must_use]
pub fn fastest(rounds: &[Round], entries: &[usize]) -> Option<usize> {
    let mut candidates = entries.iter().copied();
    let first = candidates.next()?;
    let faster = |best: usize, next: usize| match contrast(rounds, next, best, 1) {
        Some(contrast) if contrast.log < 0.0 => next,
        _ => best,
    };
    Some(candidates.fold(first, faster))
}

/// How many comparisons an answer about so many entries may make: every pair, since the fastest is chosen by looking.
#[must_use]
pub fn comparisons(entries: usize) -> usize {
    entries * entries.saturating_sub(1) / 2
}

/// The widest of the intervals that are asked for, as a share of the ratio: of each entry's time to the fastest's.
/// `None` while one of them has none.
#[must_use]
pub fn precision(rounds: &[Round], entries: &[usize]) -> Option<f64> {
    let best = fastest(rounds, entries)?;
    let others = entries.iter().filter(|&&entry| entry != best);
    let mut widths = others.map(|&entry| {
        contrast(rounds, entry, best, comparisons(entries.len())).and_then(|c| c.half_width)
    });
    widths.try_fold(0.0_f64, |widest, width| Some(widest.max(width?.exp_m1())))
}

#[cfg(test)]
mod tests;
