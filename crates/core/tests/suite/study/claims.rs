//! How often the claims of a profile hold.

use std::fmt;

use blocklens_core::profile::{
    Estimate, Estimator, Family, Interaction, MetricProfile, RankOf, Ranking, friendliness,
};

use super::{RESOLUTION, Study, coverage};

/// Shares, between 0 and 1, over campaigns.
#[derive(Default)]
pub struct Claims {
    /// Campaigns in which the simultaneous intervals hold all effects of blocks.
    pub blocks: f64,
    /// The same for averages.
    pub averages: f64,
    /// The same for depths.
    pub depths: f64,
    /// Campaigns in which no significant effect has the wrong sign.
    pub signs: f64,
    /// Rankings (but those of placements) that hold all true ranks.
    pub ranks: f64,
    /// Rankings of placements that do.
    pub placements: f64,
    /// Mean number of ranks that a block of a unit may have.
    pub width: f64,
    /// Intervals of variance shares, over the network and units, that hold the truth.
    pub shares: f64,
    /// Intervals of excess times that do.
    pub excess: f64,
    /// Intervals of relative rates that do.
    pub rates: f64,
    /// Campaigns in which any interaction is claimed.
    pub interaction: f64,
    /// Intervals of the share of repeated blocks that hold the truth.
    pub repeated: f64,
    /// Their mean estimate.
    pub repeated_share: f64,
    /// The truth.
    pub true_share: f64,
    /// How many times as wide the simultaneous intervals of blocks and averages would have to be to hold all truths in
    /// 95 % of the campaigns.
    pub stretch: [f64; 2],
}

impl Claims {
    pub const HEADER: &str = "| interaction | noise | estimator | networks | blocks | averages | depths | signs | \
        ranks | placements | ranks wide | shares | excess | rates | interaction claimed | share held | share | true | \
        blocks need | averages need |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    pub fn of(study: &Study, estimator: &dyn Estimator, networks: u64, campaigns: u64) -> Self {
        let (truth, share) = study.true_profile();
        let all: Vec<Self> = (0..campaigns)
            .map(|campaign| Self::of_one(study, estimator, networks, campaign, &truth, share))
            .collect();
        let mean = |of: &dyn Fn(&Self) -> f64| {
            let known: Vec<f64> = all.iter().map(of).filter(|x| x.is_finite()).collect();
            known.iter().sum::<f64>() / known.len() as f64
        };
        Self {
            blocks: mean(&|c| c.blocks),
            averages: mean(&|c| c.averages),
            depths: mean(&|c| c.depths),
            signs: mean(&|c| c.signs),
            ranks: mean(&|c| c.ranks),
            placements: mean(&|c| c.placements),
            width: mean(&|c| c.width),
            shares: mean(&|c| c.shares),
            excess: mean(&|c| c.excess),
            rates: mean(&|c| c.rates),
            interaction: mean(&|c| c.interaction),
            repeated: mean(&|c| c.repeated),
            repeated_share: mean(&|c| c.repeated_share),
            true_share: share,
            stretch: [0, 1]
                .map(|family| quantile(&all.iter().map(|c| c.stretch[family]).collect::<Vec<_>>())),
        }
    }

    fn of_one(
        study: &Study,
        estimator: &dyn Estimator,
        networks: u64,
        campaign: u64,
        truth: &MetricProfile,
        true_share: f64,
    ) -> Self {
        let (profile, means) = study.profile(estimator, networks, campaign);
        let blocks = pairs(&profile, truth, |p| {
            p.blocks.iter().map(|b| b.effect).collect()
        });
        let averages = pairs(&profile, truth, |p| {
            p.averages.iter().map(|a| a.effect).collect()
        });
        let depths = pairs(&profile, truth, |p| {
            p.depths.iter().map(|d| d.effect).collect()
        });
        let all = |family, pairs: &[(Estimate, f64)]| {
            let found = profile.simultaneous.iter().find(|s| s.family == family);
            let critical = found.expect("every profile has it").critical;
            let wide: Vec<_> = pairs
                .iter()
                .map(|(e, t)| (e.widened(critical), *t))
                .collect();
            f64::from(u8::from(coverage(&wide) >= 1.0))
        };
        let stretch = |family, pairs: &[(Estimate, f64)]| {
            let found = profile.simultaneous.iter().find(|s| s.family == family);
            let critical = found.expect("every profile has it").critical;
            let sizes = pairs
                .iter()
                .map(|(e, t)| (e.value - t).abs() / e.se / critical);
            sizes.fold(0.0, f64::max)
        };
        let wrong_sign = profile
            .blocks
            .iter()
            .zip(&blocks)
            .any(|(b, (e, t))| b.significant && e.value * t < 0.0);
        let (ranks, placements): (Vec<&Ranking>, Vec<&Ranking>) = profile
            .ranks
            .iter()
            .partition(|r| r.of != RankOf::Placements);
        let shares: Vec<(Estimate, f64)> = profile
            .variance
            .iter()
            .zip(&truth.variance)
            .filter(|(_, t)| t.share.value > 1e-9)
            .map(|(v, t)| (v.share, t.share.value))
            .collect();
        let found = friendliness(study.space(), RESOLUTION, &means);
        let expected = friendliness(study.space(), RESOLUTION, study.truth());
        let excess: Vec<_> = found
            .iter()
            .zip(&expected)
            .map(|(f, t)| (f.excess_ms, t.excess_ms.value))
            .collect();
        let rates: Vec<_> = found
            .iter()
            .zip(&expected)
            .filter_map(|(f, t)| Some((f.relative_rate?, t.relative_rate?.value)))
            .collect();
        let additivity = profile.additivity.as_ref();
        let repeated = additivity.and_then(|a| {
            let test = a
                .tests
                .iter()
                .find(|t| t.kind == Interaction::RepeatedBlock)?;
            Some(test.share)
        });
        Self {
            blocks: all(Family::Blocks, &blocks),
            averages: all(Family::Averages, &averages),
            depths: all(Family::Depths, &depths),
            signs: f64::from(u8::from(!wrong_sign)),
            ranks: held(&ranks, truth),
            placements: held(&placements, truth),
            width: width(&ranks),
            shares: coverage(&shares),
            excess: coverage(&excess),
            rates: if rates.is_empty() {
                f64::NAN
            } else {
                coverage(&rates)
            },
            interaction: additivity.map_or(f64::NAN, |a| f64::from(u8::from(a.surest().is_some()))),
            repeated: repeated.map_or(f64::NAN, |[_, low, high]| {
                f64::from(u8::from((low..=high).contains(&true_share)))
            }),
            repeated_share: repeated.map_or(f64::NAN, |[value, ..]| value),
            true_share,
            stretch: [
                stretch(Family::Blocks, &blocks),
                stretch(Family::Averages, &averages),
            ],
        }
    }
}

/// The 95 % quantile.
fn quantile(values: &[f64]) -> f64 {
    blocklens_core::stats::quantile(values, 0.95).unwrap_or(f64::NAN)
}

fn pairs(
    profile: &MetricProfile,
    truth: &MetricProfile,
    of: impl Fn(&MetricProfile) -> Vec<Estimate>,
) -> Vec<(Estimate, f64)> {
    let truths = of(truth).into_iter().map(|t| t.value);
    of(profile).into_iter().zip(truths).collect()
}

/// Share of the rankings all of whose rank sets hold the true ranks.
fn held(rankings: &[&Ranking], truth: &MetricProfile) -> f64 {
    let holds = |ranking: &&&Ranking| {
        let same = |t: &&Ranking| (t.of, t.unit) == (ranking.of, ranking.unit);
        let order = truth.ranks.iter().find(same).expect("the same rankings");
        ranking.items.iter().all(|item| {
            let rank = order.items.iter().position(|t| t.name == item.name);
            (item.best..=item.worst).contains(&(1 + rank.expect("the same things")))
        })
    };
    rankings.iter().filter(holds).count() as f64 / rankings.len() as f64
}

/// Mean number of ranks that a block of a unit may have.
fn width(rankings: &[&Ranking]) -> f64 {
    let of_units = rankings
        .iter()
        .filter(|r| r.of == RankOf::Blocks && r.unit.is_some());
    let widths: Vec<f64> = of_units
        .flat_map(|r| &r.items)
        .map(|i| (i.worst - i.best + 1) as f64)
        .collect();
    widths.iter().sum::<f64>() / widths.len() as f64
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = [
            self.blocks,
            self.averages,
            self.depths,
            self.signs,
            self.ranks,
            self.placements,
        ];
        for share in shares {
            write!(f, "{:.1} | ", 100.0 * share)?;
        }
        write!(f, "{:.1} | ", self.width)?;
        for share in [
            self.shares,
            self.excess,
            self.rates,
            self.interaction,
            self.repeated,
        ] {
            write!(f, "{:.1} | ", 100.0 * share)?;
        }
        write!(
            f,
            "{:.2} | {:.2} | {:.2} | {:.2}",
            100.0 * self.repeated_share,
            100.0 * self.true_share,
            self.stretch[0],
            self.stretch[1]
        )
    }
}
