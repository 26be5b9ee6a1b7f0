//! Whether metrics have values for what is asked of them, found out before anything is measured or searched, and which
//! rows of their tables are not used for it.

use std::collections::{BTreeMap, BTreeSet};

use blocklens_core::metric::{Metric, MetricInfo};
use blocklens_core::space::Architecture;
use blocklens_core::values::{Account, by_resolution};

/// Why metrics have too few values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoverageError {
    /// A table has too few architectures at what is asked.
    #[error(
        "`{metric}` has values for {found} architectures at {}, of at least {needed} that are needed: it has {}{}",
        pixels(asked), by_resolution(there), remedy(there, *needed)
    )]
    TooFew {
        /// The metric.
        metric: String,
        /// The resolutions asked for.
        asked: Vec<u32>,
        /// Architectures with a value there.
        found: usize,
        /// How many are needed.
        needed: usize,
        /// Architectures with a value, by resolution.
        there: BTreeMap<u32, usize>,
    },
    /// Two tables have too few architectures in common.
    #[error(
        "`{metric}` and `{other}` have values for {found} of the same architectures at {}, of at least {needed} that \
         are needed: the first has \
         {} there, and the second {}",
        pixels(asked), counts[0], counts[1]
    )]
    Apart {
        /// One metric.
        metric: String,
        /// The other.
        other: String,
        /// The resolutions asked for.
        asked: Vec<u32>,
        /// Architectures with both values.
        found: usize,
        /// How many are needed.
        needed: usize,
        /// Architectures that each has a value for.
        counts: [usize; 2],
    },
    /// An estimator draws architectures of its own for every block.
    #[error(
        "`{metric}` has values for a list of architectures, and the estimator `{estimator}` needs those that it draws \
         for every block: --estimator designed takes what is there"
    )]
    OwnDraws {
        /// The metric.
        metric: String,
        /// The estimator.
        estimator: String,
    },
}

/// `224 px`, `160 and 224 px`.
fn pixels(resolutions: &[u32]) -> String {
    let all: Vec<String> = resolutions.iter().map(ToString::to_string).collect();
    format!("{} px", all.join(" and "))
}

/// The option that helps.
fn remedy(there: &BTreeMap<u32, usize>, needed: usize) -> String {
    let most = there.iter().max_by_key(|(_, count)| **count);
    match most.filter(|(_, count)| **count >= needed) {
        Some((resolution, _)) => format!(" (--resolution {resolution})"),
        None => "; no resolution has as many".into(),
    }
}

/// The architectures at some resolutions that a metric has values for, where they are a list; and all of it by
/// resolution.
fn listed(
    metric: &dyn Metric,
    resolutions: &[u32],
) -> Option<(BTreeSet<Architecture>, BTreeMap<u32, usize>)> {
    let all = metric.listed()?;
    let mut there = BTreeMap::new();
    for arch in &all {
        *there.entry(arch.resolution()).or_default() += 1;
    }
    let here = all
        .into_iter()
        .filter(|arch| resolutions.contains(&arch.resolution()));
    Some((here.collect(), there))
}

/// Checks that every metric that has values for a list of architectures has at least `needed` at these resolutions, and
/// as many in common with the first such metric, whose architectures are those of a profile.
///
/// # Errors
/// [`CoverageError`].
pub fn check(
    metrics: &[Box<dyn Metric>],
    resolutions: &[u32],
    needed: usize,
) -> Result<(), CoverageError> {
    let mut first: Option<(String, BTreeSet<Architecture>)> = None;
    for metric in metrics {
        let Some((here, there)) = listed(metric.as_ref(), resolutions) else {
            continue;
        };
        let name = metric.info().name.clone();
        if here.len() < needed {
            return Err(CoverageError::TooFew {
                metric: name,
                asked: resolutions.to_vec(),
                found: here.len(),
                needed,
                there,
            });
        }
        let Some((other, known)) = &first else {
            first = Some((name, here));
            continue;
        };
        let found = known.intersection(&here).count();
        if found < needed {
            return Err(CoverageError::Apart {
                metric: other.clone(),
                other: name,
                asked: resolutions.to_vec(),
                found,
                needed,
                counts: [known.len(), here.len()],
            });
        }
    }
    Ok(())
}

/// Checks that an estimator can make do with the architectures that there are.
///
/// # Errors
/// [`CoverageError::OwnDraws`].
pub fn check_estimator(metrics: &[Box<dyn Metric>], estimator: &str) -> Result<(), CoverageError> {
    let listed = metrics.iter().find(|metric| metric.listed().is_some());
    match listed.filter(|_| matches!(estimator, "sampled" | "legacy")) {
        None => Ok(()),
        Some(metric) => Err(CoverageError::OwnDraws {
            metric: metric.info().name.clone(),
            estimator: estimator.to_owned(),
        }),
    }
}

/// Which rows of a table are at other resolutions than those asked for, as a sentence; `None` where there are none.
#[must_use]
pub fn elsewhere(account: &Account, resolutions: &[u32]) -> Option<String> {
    let others = account.used_at.iter();
    let others: BTreeMap<u32, usize> = others
        .filter(|(resolution, _)| !resolutions.contains(resolution))
        .map(|(resolution, rows)| (*resolution, *rows))
        .collect();
    let (most, _) = others.iter().max_by_key(|(_, rows)| **rows)?;
    let rows: usize = others.values().sum();
    Some(format!(
        "{rows} of the {} rows that give a value are at other resolutions than {} ({}) and are left out here \
         (--resolution {most})",
        account.used,
        pixels(resolutions),
        by_resolution(&others),
    ))
}

/// What is said of all tables whose rows are partly at other resolutions.
#[must_use]
pub fn notes(tables: &[(String, Account)], resolutions: &[u32]) -> Vec<String> {
    let note = |(name, account): &(String, Account)| {
        Some(format!("{name}: {}", elsewhere(account, resolutions)?))
    };
    tables.iter().filter_map(note).collect()
}

/// What a metric is, for a report at a resolution: with what became of its table's rows where some are not used.
#[must_use]
pub fn described(info: &MetricInfo, tables: &[(String, Account)], resolution: u32) -> MetricInfo {
    let mut info = info.clone();
    let Some((_, account)) = tables.iter().find(|(name, _)| *name == info.name) else {
        return info;
    };
    if let Some(others) = elsewhere(account, &[resolution]) {
        info.about = format!("{} {others}.", info.about);
    }
    if !account.is_complete() {
        info.about = format!("{} {account}", info.about);
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use blocklens_core::seed::Seed;
    use blocklens_core::space::DesignSpace;
    use blocklens_core::values::{ValueTable, Wanted};

    /// A table with as many architectures at each resolution as is said.
    fn table(name: &str, counts: &[(u32, u64)], first: u64) -> ValueTable {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let mut text = "arch,latency\n".to_owned();
        for (resolution, count) in counts {
            for seed in first..first + count {
                let arch = space.sample(*resolution, &mut Seed(seed).rng()).unwrap();
                text += &format!("\"{}\",{}\n", space.print(&arch), seed + 1);
            }
        }
        let wanted = Wanted {
            metric: name,
            ..Wanted::column("latency")
        };
        ValueTable::read_csv("t.csv", text.as_bytes(), &wanted, &space).unwrap()
    }

    fn boxed(tables: Vec<ValueTable>) -> Vec<Box<dyn Metric>> {
        let boxed = |table| Box::new(table) as Box<dyn Metric>;
        tables.into_iter().map(boxed).collect()
    }

    #[test]
    fn tables_without_values_at_what_is_asked_are_told_with_the_option_that_helps() {
        let metrics = boxed(vec![table("a", &[(160, 12), (192, 3)], 0)]);
        assert_eq!(check(&metrics, &[160], 8), Ok(()));
        assert_eq!(check(&metrics, &[224, 192], 3), Ok(()));
        let error = check(&metrics, &[224], 8).unwrap_err().to_string();
        for part in [
            "`a`",
            "0 architectures at 224 px",
            "12 at 160 px, 3 at 192 px",
            "(--resolution 160)",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = check(&metrics, &[224], 20).unwrap_err().to_string();
        assert!(error.contains("no resolution has as many"), "{error}");
    }

    #[test]
    fn tables_of_other_architectures_are_told() {
        let two = |first| {
            boxed(vec![
                table("a", &[(224, 20)], 0),
                table("b", &[(224, 20)], first),
            ])
        };
        assert_eq!(check(&two(5), &[224], 8), Ok(()));
        let error = check(&two(100), &[224], 8).unwrap_err().to_string();
        assert!(
            error.contains("`a` and `b`") && error.contains("0 of the same"),
            "{error}"
        );
    }

    #[test]
    fn rows_at_other_resolutions_are_told() {
        let table = table("a", &[(160, 20), (224, 20)], 0);
        let said = elsewhere(table.account(), &[224]).unwrap();
        assert!(
            said.starts_with("20 of the 40 rows") && said.contains("--resolution 160"),
            "{said}"
        );
        assert_eq!(elsewhere(table.account(), &[160, 224]), None);
        let tables = [("a".to_owned(), table.account().clone())];
        let info = described(table.info(), &tables, 224);
        assert!(info.about.contains("20 of the 40 rows"), "{}", info.about);
        assert_eq!(notes(&tables, &[160, 224]), Vec::<String>::new());
    }
}
