//! From raw samples to a summary: which samples count, and which statistic of them.

use super::{Sample, Summary};
use crate::units::Millis;

/// A sample with less CPU time than this share of its wall time was waiting for something else.
/// An undisturbed single-threaded inference has a share of 0.99 to 1.
const MIN_CPU_SHARE: f64 = 0.97;

/// Quantile of the undisturbed samples that stands for the steady state: their median. On shared
/// machines times have several levels (a neighbour computes, or does not), and low quantiles jump to
/// a fast level that only a few samples reached; `docs/measuring.md` shows the comparison.
pub const LATENCY_QUANTILE: f64 = 0.5;

/// Fewest undisturbed samples that a summary may rest on; with fewer, all samples count.
const FEWEST_UNDISTURBED: usize = 5;

impl Sample {
    /// Whether other work disturbed this sample: the process was preempted, or got less CPU
    /// time than the wall time that passed. `cpu_accounting` is false where CPU time says nothing
    /// (several threads).
    #[must_use]
    pub fn disturbed(&self, cpu_accounting: bool) -> bool {
        let preempted = self.preemptions.is_some_and(|n| n > 0);
        let starved = cpu_accounting
            && self
                .cpu_ms
                .is_some_and(|cpu| cpu < MIN_CPU_SHARE * self.wall.get());
        preempted || starved
    }
}

/// [`LATENCY_QUANTILE`] in words, for reports and for telling campaigns apart. `paired` where networks are timed in
/// turn with a reference.
#[must_use]
pub fn statistic(paired: bool) -> String {
    let quantile = LATENCY_QUANTILE * 100.0;
    let of = if paired {
        ", each as a multiple of the reference inferences before and after it"
    } else {
        ""
    };
    format!("{quantile:.0} % quantile of the undisturbed samples{of}")
}

/// Summarises the samples of one session; `None` when there are none.
///
/// `single_threaded` tells whether CPU time can be compared with wall time.
#[must_use]
pub fn summarise(samples: &[Sample], single_threaded: bool) -> Option<Summary> {
    let all = sorted(samples.iter().map(|s| s.wall.get()));
    let marked = samples
        .iter()
        .map(|s| (s.wall.get(), s.disturbed(single_threaded)));
    let (counted, set_aside) = counted(marked);
    let median = quantile(&all, 0.5)?;
    let deviations = sorted(all.iter().map(|x| (x - median).abs()));
    let time = |x: f64| Millis::new(x).ok();
    Some(Summary {
        latency: time(quantile(&counted, LATENCY_QUANTILE)?)?,
        relative: None,
        median_half_width: half_width(&counted)?,
        median: time(median)?,
        p90: time(quantile(&all, 0.9)?)?,
        p99: time(quantile(&all, 0.99)?)?,
        min: time(*all.first()?)?,
        mad: quantile(&deviations, 0.5)?,
        samples: all.len(),
        set_aside,
    })
}

/// Summarises the samples of a session that ran in turn with a reference, of which there is one inference before each
/// sample and one after the last. A sample is then disturbed with the reference inferences around it. `None` when there
/// are no samples.
///
/// Both feel the same machine within milliseconds of each other, so their ratio is steady where neither of them is
/// (compare Bulej et al., Duet Benchmarking, ICPE 2020, who run both at once on two processors).
#[must_use]
pub fn summarise_paired(
    samples: &[Sample],
    reference: &[Sample],
    single_threaded: bool,
) -> Option<Summary> {
    let marked = samples.iter().zip(reference.windows(2)).map(|(s, around)| {
        let base: f64 = around.iter().map(|r| r.wall.get()).sum::<f64>() / 2.0;
        let disturbed = |s: &Sample| s.disturbed(single_threaded);
        (
            s.wall.get() / base,
            disturbed(s) || around.iter().any(disturbed),
        )
    });
    let (counted, set_aside) = counted(marked);
    Some(Summary {
        relative: Some(quantile(&counted, LATENCY_QUANTILE)?),
        median_half_width: half_width(&counted)?,
        set_aside,
        ..summarise(samples, single_threaded)?
    })
}

impl Summary {
    /// Whether too few samples were undisturbed, so that disturbed ones count.
    #[must_use]
    pub fn fell_back(&self) -> bool {
        self.samples.saturating_sub(self.set_aside) < FEWEST_UNDISTURBED
    }

    /// The first field that does not follow from the samples, if one does not. `single_threaded` is as for
    /// [`summarise`]; without it, only fields are compared that every version summarised alike.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn disagrees(
        &self,
        samples: &[Sample],
        reference: &[Sample],
        single_threaded: Option<bool>,
    ) -> Option<&'static str> {
        if self.relative.is_some() == reference.is_empty() {
            return Some("relative");
        }
        let again = |single_threaded: bool| match reference {
            [] => summarise(samples, single_threaded),
            reference => summarise_paired(samples, reference, single_threaded),
        };
        let Some(again) = again(single_threaded.unwrap_or(true)) else {
            return Some("samples");
        };
        let always = [
            ("samples", self.samples as f64, again.samples as f64),
            ("median", self.median.get(), again.median.get()),
            ("p90", self.p90.get(), again.p90.get()),
            ("p99", self.p99.get(), again.p99.get()),
            ("min", self.min.get(), again.min.get()),
            ("mad", self.mad, again.mad),
        ];
        let relative = |of: &Summary| of.relative.unwrap_or_default();
        let by_rule = [
            ("set_aside", self.set_aside as f64, again.set_aside as f64),
            ("latency", self.latency.get(), again.latency.get()),
            ("relative", relative(self), relative(&again)),
            (
                "median_half_width",
                self.median_half_width,
                again.median_half_width,
            ),
        ];
        let by_rule = by_rule.iter().filter(|_| single_threaded.is_some());
        let differs = |(_, a, b): &&(&str, f64, f64)| (a - b).abs() > 1e-9 * a.abs().max(b.abs());
        let found = always.iter().chain(by_rule).find(differs);
        found.map(|(name, ..)| *name)
    }
}

/// What counts of values that are marked as disturbed or not, sorted: the undisturbed ones, or all where these are too
/// few; and how many are disturbed.
fn counted(marked: impl Iterator<Item = (f64, bool)>) -> (Vec<f64>, usize) {
    let marked: Vec<(f64, bool)> = marked.collect();
    let undisturbed = sorted(marked.iter().filter(|m| !m.1).map(|m| m.0));
    let set_aside = marked.len() - undisturbed.len();
    if undisturbed.len() >= FEWEST_UNDISTURBED {
        return (undisturbed, set_aside);
    }
    (sorted(marked.into_iter().map(|m| m.0)), set_aside)
}

/// Half-width of the median's 95 % interval, relative to it.
fn half_width(sorted: &[f64]) -> Option<f64> {
    let (low, high) = median_interval(sorted)?;
    Some((high - low) / 2.0 / quantile(sorted, 0.5)?)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Linear interpolation between order statistics (type 7 of Hyndman and Fan 1996).
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    crate::stats::quantile_sorted(sorted, q)
}

/// The 95 % interval of the median from order statistics: no assumption on the shape of the
/// distribution. With fewer than 6 samples no pair of order statistics reaches 95 %, and the
/// range is returned.
fn median_interval(sorted: &[f64]) -> Option<(f64, f64)> {
    let n = sorted.len();
    let last = n.checked_sub(1)?;
    // The rank of the lower end: the largest l with P(Binomial(n, 1/2) < l) <= 2.5 %.
    let mut probability = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut cumulative = 0.0;
    let mut rank = 0;
    while rank < n / 2 {
        cumulative += probability;
        if cumulative > 0.025 {
            break;
        }
        probability *= (n - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    let low = rank.saturating_sub(1);
    Some((sorted[low], sorted[last - low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ms: f64, cpu: f64, preemptions: u32) -> Sample {
        Sample {
            wall: Millis::new(ms).unwrap(),
            cpu_ms: Some(cpu),
            preemptions: Some(preemptions),
        }
    }

    #[test]
    fn disturbed_samples_are_set_aside_and_counted() {
        let mut samples: Vec<Sample> = (0..20)
            .map(|i| sample(10.0 + f64::from(i) * 0.01, 10.0, 0))
            .collect();
        samples.push(sample(50.0, 10.0, 0));
        samples.push(sample(30.0, 29.9, 2));
        let summary = summarise(&samples, true).unwrap();
        assert_eq!((summary.samples, summary.set_aside), (22, 2));
        assert!(summary.latency.get() < 10.1 && summary.median_half_width < 0.01);
        // With several threads CPU time says nothing, preemption still does.
        assert_eq!(summarise(&samples, false).unwrap().set_aside, 1);
    }

    #[test]
    fn mostly_disturbed_sessions_fall_back_to_all_samples() {
        let samples: Vec<Sample> = (0..8)
            .map(|i| sample(10.0 + f64::from(i), 1.0, 3))
            .collect();
        let summary = summarise(&samples, true).unwrap();
        assert_eq!(summary.set_aside, 8);
        assert!((summary.latency.get() - 13.5).abs() < 1e-9);
        assert!(summarise(&[], true).is_none());
    }

    /// A machine that is half as slow again for half of the time: the ratio does not see it.
    #[test]
    fn a_reference_takes_out_what_the_machine_does_to_both() {
        let pace = |i: u32| if i % 40 < 20 { 1.0 } else { 1.5 };
        let network: Vec<Sample> = (0..80)
            .map(|i| sample(10.0 * pace(i), 10.0 * pace(i), 0))
            .collect();
        let reference: Vec<Sample> = (0..81)
            .map(|i| sample(4.0 * pace(i), 4.0 * pace(i), 0))
            .collect();
        let alone = summarise(&network, true).unwrap();
        assert!(alone.median_half_width > 0.1 && alone.relative.is_none());
        let paired = summarise_paired(&network, &reference, true).unwrap();
        assert!((paired.relative.unwrap() - 2.5).abs() < 1e-9);
        assert!(paired.median_half_width < 1e-9);
        assert_eq!((paired.latency, paired.p90), (alone.latency, alone.p90));
    }

    #[test]
    fn a_disturbed_reference_disturbs_its_neighbours() {
        let network = vec![sample(10.0, 10.0, 0); 20];
        let mut reference = vec![sample(5.0, 5.0, 0); 21];
        reference[7] = sample(9.0, 5.0, 1);
        let summary = summarise_paired(&network, &reference, true).unwrap();
        assert_eq!((summary.set_aside, summary.relative), (2, Some(2.0)));
        assert!(summarise_paired(&[], &reference[..1], true).is_none());
    }

    #[test]
    fn a_summary_follows_from_its_samples() {
        let samples: Vec<Sample> = (0..9)
            .map(|i| sample(8.0 + f64::from(i) / 7.0, 8.0, 0))
            .collect();
        let reference = [samples.clone(), samples[..1].to_vec()].concat();
        for (summary, reference) in [
            (summarise(&samples, true).unwrap(), &reference[..0]),
            (
                summarise_paired(&samples, &reference, true).unwrap(),
                &reference[..],
            ),
        ] {
            let told = |summary: &Summary, rule| summary.disagrees(&samples, reference, rule);
            assert_eq!(told(&summary, Some(true)), None);
            assert_eq!(told(&summary, None), None);
            let mut changed = summary.clone();
            changed.latency = Millis::new(changed.latency.get() + 0.1).unwrap();
            assert_eq!(told(&changed, Some(true)), Some("latency"));
            // Another version's statistic may be another.
            assert_eq!(told(&changed, None), None);
            let mut changed = summary.clone();
            changed.p90 = Millis::new(changed.p90.get() + 0.1).unwrap();
            assert_eq!(told(&changed, None), Some("p90"));
            let none = summary.disagrees(&[], reference, None);
            assert!(none.is_some());
        }
    }

    #[test]
    fn median_interval_has_its_tabulated_ranks() {
        // Ranks (1-based) of the 95 % interval: n = 6: 1 and 6; n = 11: 2 and 10; n = 25: 8 and 18
        // (Conover, Practical Nonparametric Statistics, table of the binomial distribution).
        for (n, low, high) in [(6, 1, 6), (11, 2, 10), (25, 8, 18), (100, 40, 61)] {
            let values: Vec<f64> = (1..=n).map(f64::from).collect();
            assert_eq!(
                median_interval(&values),
                Some((f64::from(low), f64::from(high))),
                "n = {n}"
            );
        }
    }
}
