//! What a reduction cuts off from what is known already.

use super::document::KnownFront;
use crate::metric::{Direction, MetricInfo};
use crate::notation::Listing;
use crate::search::front::{PointError, Points};
use crate::space::{Architecture, DesignSpace, Restriction};

/// The front of evaluated architectures, and what is left of it; `None` where none were evaluated.
///
/// # Errors
/// [`PointError`] for values that are no point.
pub(super) fn known_front(
    kept: &Restriction,
    directions: &[Direction],
    evaluated: &[(Architecture, Vec<f64>)],
) -> Result<Option<KnownFront>, PointError> {
    let stays: Vec<bool> = evaluated.iter().map(|(a, _)| kept.allows(a)).collect();
    let all = Points::of(directions, evaluated.iter().map(|(_, v)| v.as_slice()))?;
    let left = evaluated.iter().zip(&stays).filter(|(_, stays)| **stays);
    let left = Points::of(directions, left.map(|((_, v), _)| v.as_slice()))?;
    let Some(reference) = worst(&all, directions) else {
        return Ok(None);
    };
    let front = all.front();
    let volume = all.hypervolume(&reference)?;
    let lost = match volume > 0.0 {
        true => 1.0 - left.hypervolume(&reference)? / volume,
        false => 0.0,
    };
    Ok(Some(KnownFront {
        evaluated: evaluated.len(),
        evaluated_kept: left.len(),
        front: front.len(),
        front_kept: front.iter().filter(|i| stays[**i]).count(),
        hypervolume_lost: lost,
    }))
}

/// The worst value of every metric.
fn worst(points: &Points, directions: &[Direction]) -> Option<Vec<f64>> {
    let values = (0..points.len()).map(|i| points.values(i));
    values.reduce(|worst, values| {
        let pairs = worst.into_iter().zip(values).zip(directions);
        let worse = |((a, b), direction): ((f64, f64), &Direction)| match direction {
            Direction::HigherIsBetter => f64::min(a, b),
            Direction::LowerIsBetter => f64::max(a, b),
        };
        pairs.map(worse).collect()
    })
}

/// Architectures with a value of every metric, in the metrics' order, and how many lines lack one.
pub type Evaluated = (Vec<(Architecture, Vec<f64>)>, usize);

/// Reads evaluations: any listing of architectures with values under the metrics' names, or under what they count where
/// only one of them counts that (`latency` for `latency@note10`), as `blocklens search`, `profile` and `evaluate` write
/// them. A number that the metric cannot have is none. `source` is what errors call the text.
///
/// # Errors
/// A sentence with the line that holds no architecture, or one that is not of the space.
pub fn read_evaluations(
    source: &str,
    text: &str,
    space: &DesignSpace,
    metrics: &[&MetricInfo],
) -> Result<Evaluated, String> {
    let short = |info: &MetricInfo| {
        let same = metrics.iter().filter(|m| m.quantity() == info.quantity());
        (same.count() == 1).then(|| info.quantity().to_owned())
    };
    let listing = Listing::read(text).map_err(|error| format!("{source}: {error}"))?;
    let named = |name: &str| listing.metrics.iter().position(|m| m.name == name);
    // The whole name comes before what it counts.
    let columns: Vec<[Option<usize>; 2]> = metrics
        .iter()
        .map(|m| [named(&m.name), short(m).and_then(|name| named(&name))])
        .collect();
    let mut found = Vec::new();
    let mut incomplete = 0;
    for entry in &listing.entries {
        let arch = space.read_architecture_value(&entry.arch, None);
        let arch = arch.map_err(|error| match entry.line {
            0 => format!("{source}: {error}"),
            line => format!("{source}:{line}: {error}"),
        })?;
        let value = |column: usize| {
            let mut values = entry.values.iter();
            values.find(|(number, _)| *number == column)
        };
        let values = columns.iter().zip(metrics).map(|(names, info)| {
            let mut found = names.iter().flatten().filter_map(|column| value(*column));
            info.check(found.next()?.1).ok()
        });
        match values.collect::<Option<Vec<f64>>>() {
            Some(values) => found.push((arch, values)),
            None => incomplete += 1,
        }
    }
    Ok((found, incomplete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Origin;

    fn info(name: &str) -> MetricInfo {
        MetricInfo {
            name: name.into(),
            unit: "ms".into(),
            direction: Direction::LowerIsBetter,
            origin: Origin::Measured,
            about: String::new(),
        }
    }

    const SMALL: &str = include_str!("../../tests/spaces/small.toml");

    #[test]
    fn evaluations_are_read_by_name_or_by_what_they_count() {
        let space = DesignSpace::from_toml("small.toml", SMALL, None).unwrap();
        let (a, b) = (info("latency@x"), info("macs"));
        let lines = "{\"arch\":\"r32/e1k3/e0.5k3\",\"latency\":2.5,\"macs\":1}\n\n\
                     {\"arch\":\"r32/e4k3/e0.5k3\",\"latency@x\":3,\"macs\":2}\n\
                     {\"arch\":\"r32/e4k3/e0.25k3\",\"macs\":2}\n\
                     {\"arch\":\"r32/e1k3/e0.25k3\",\"latency\":0,\"macs\":2}\n";
        let (found, incomplete) = read_evaluations("x", lines, &space, &[&a, &b]).unwrap();
        let values: Vec<&[f64]> = found.iter().map(|(_, v)| v.as_slice()).collect();
        assert_eq!(values, [[2.5, 1.0].as_slice(), &[3.0, 2.0]]);
        assert_eq!(incomplete, 2);
        let front = "arch,latency@x [ms],macs\n\"r32/e1k3/e0.5k3\",2.5,1\n";
        let (found, _) = read_evaluations("x", front, &space, &[&a, &b]).unwrap();
        assert_eq!(found[0].1, [2.5, 1.0]);
        for (line, why) in [
            ("{\"macs\":1}", "x:1: {\"macs\":1} holds no architecture"),
            ("[]", "x:1: [] holds no architecture"),
            ("{\"arch\":\"r32/e9k3/e0.5k3\"}", "x:1: unit 1, layer 1"),
        ] {
            let error = read_evaluations("x", line, &space, &[&a]).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn what_is_cut_off_is_counted() {
        let space = DesignSpace::from_toml("small.toml", SMALL, None).unwrap();
        let arch = |text| space.parse(text).unwrap();
        // Costs: two corners of a staircase and a point behind them; the worst of both is (4, 4).
        let evaluated = [
            (arch("r32/e1k3/e0.5k3"), vec![1.0, 3.0]),
            (arch("r32/e4k3/e0.5k3"), vec![3.0, 1.0]),
            (arch("r32/e4k3/e0.25k3"), vec![4.0, 4.0]),
        ];
        let directions = [Direction::LowerIsBetter; 2];
        let mut kept = space.whole();
        let all = known_front(&kept, &directions, &evaluated)
            .unwrap()
            .unwrap();
        assert_eq!(
            (all.front, all.front_kept, all.hypervolume_lost),
            (2, 2, 0.0)
        );
        assert!(kept.remove_block(0, 0, 0));
        let less = known_front(&kept, &directions, &evaluated)
            .unwrap()
            .unwrap();
        assert_eq!(
            (less.evaluated_kept, less.front, less.front_kept),
            (2, 2, 1)
        );
        // Of 3 + 3 - 1 cells, 3 are left.
        assert!((less.hypervolume_lost - 0.4).abs() < 1e-12);
        assert_eq!(known_front(&kept, &directions, &[]).unwrap(), None);
    }
}
