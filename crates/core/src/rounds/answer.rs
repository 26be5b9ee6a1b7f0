//! The answer in sentences: what is fastest, by how much, and what cannot be told.

use super::report::{Relative, Report, Verdict};

/// How many names a sentence lists.
const NAMED: usize = 3;

/// One to three sentences.
#[must_use]
pub fn answer(report: &Report) -> Vec<String> {
    let mut sentences = match report.numbers().as_slice() {
        [] => vec!["Nothing gave a time.".to_owned()],
        [only] => vec![alone(report, *only)],
        [a, b] => vec![of_two(report, *a, *b)],
        several => of_several(report, several),
    };
    sentences.extend(failures(report));
    sentences
}

/// What follows a sentence about networks of one device, or about one network: where, or which.
fn common(report: &Report) -> String {
    match (report.networks.as_slice(), report.devices.as_slice()) {
        (_, [device]) => format!(" on {}", device.label()),
        ([network], _) => format!(" for {}", network.name),
        _ => String::new(),
    }
}

fn alone(report: &Report, entry: usize) -> String {
    let told = &report.entries[entry];
    let network = &report.networks[told.network].name;
    let device = report.devices[told.device].label();
    let spread = told.ms_interval.map(|[low, high]| {
        let (low, high) = (time(low), time(high));
        match low == high {
            true => String::new(),
            false => format!(" ({low} to {high} from session to session)"),
        }
    });
    let ms = time(told.ms.unwrap_or_default());
    format!(
        "{network} takes {ms} ms{} on {device}.",
        spread.unwrap_or_default()
    )
}

fn of_two(report: &Report, a: usize, b: usize) -> String {
    let told = |entry: usize| {
        report.entries[entry]
            .relative
            .map(|relative| (entry, relative))
    };
    let Some((slower, relative)) = told(a).or_else(|| told(b)) else {
        // Nothing was measured in a round that has both.
        return [alone(report, a), alone(report, b)].join(" ");
    };
    let (fast, slow) = (report.label(relative.to), report.label(slower));
    let common = common(report);
    match relative.verdict {
        Verdict::Slower => {
            format!(
                "{fast} is {} times as fast as {slow}{common}.",
                ratio(&relative)
            )
        }
        Verdict::Same => format!(
            "No difference is seen between {fast} and {slow}{common}: the second takes {} times as long.",
            ratio(&relative)
        ),
        Verdict::CannotTell => format!(
            "Whether {fast} or {slow} is faster cannot be told{common}: the second takes {} times as long.",
            ratio(&relative)
        ),
    }
}

fn of_several(report: &Report, entries: &[usize]) -> Vec<String> {
    let Some(best) = report.fastest() else {
        return Vec::new();
    };
    let mut others: Vec<(usize, Relative)> = entries
        .iter()
        .filter_map(|&entry| Some((entry, report.entries[entry].relative?)))
        .collect();
    others.sort_by(|a, b| a.1.ratio.total_cmp(&b.1.ratio));
    let common = common(report);
    let near: Vec<String> = others
        .iter()
        .filter(|(_, relative)| relative.verdict != Verdict::Slower)
        .map(|(entry, _)| report.label(*entry))
        .collect();
    let of = entries.len();
    let slower = others
        .iter()
        .find(|(_, relative)| relative.verdict == Verdict::Slower);
    let next = slower.map(|(entry, relative)| (report.label(*entry), ratio(relative)));
    let ms = time(report.entries[best].ms.unwrap_or_default());
    let best = report.label(best);
    match (near.is_empty(), next) {
        (true, Some((next, ratio))) => vec![
            format!("{best} is the fastest of {of}{common}: {ms} ms."),
            format!("It is {ratio} times as fast as the next, {next}."),
        ],
        (false, Some((next, ratio))) => vec![
            format!(
                "The fastest of {of}{common} is {best} ({ms} ms) or {}.",
                one_of(&near)
            ),
            format!(
                "The first is {ratio} times as fast as {next}, the next that is surely slower."
            ),
        ],
        (_, None) => vec![format!(
            "Which of {of} is the fastest{common} cannot be told; {best} took the least, {ms} ms."
        )],
    }
}

fn one_of(names: &[String]) -> String {
    match names {
        names if names.len() > NAMED => {
            format!("one of {} others that cannot be told from it", names.len())
        }
        [name] => format!("{name}, which cannot be told from it"),
        names => format!("{}, which cannot be told from it", names.join(" or ")),
    }
}

fn failures(report: &Report) -> Option<String> {
    let failed = report.entries.iter().enumerate();
    let failed = failed.filter(|(_, entry)| entry.failure.is_some());
    let failed: Vec<String> = failed.map(|(place, _)| report.label(place)).collect();
    match failed.as_slice() {
        [] => None,
        names if names.len() > NAMED => Some(format!(
            "{} of {} gave no time.",
            names.len(),
            report.entries.len()
        )),
        names => Some(format!("{} gave no time.", names.join(" and "))),
    }
}

/// A ratio with its interval.
pub(super) fn ratio(relative: &Relative) -> String {
    let digits = |x: f64| match x {
        x if x < 0.9995 => format!("{x:.3}"),
        x if x < 9.995 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    };
    match (relative.low, relative.high) {
        (Some(low), Some(high)) => {
            let coarse = [low, relative.ratio, high].map(digits);
            match high / low < 1.02 {
                // What is known better is told with more digits.
                true => format!("{:.3} ({low:.3} to {high:.3})", relative.ratio),
                false => format!("{} ({} to {})", coarse[1], coarse[0], coarse[2]),
            }
        }
        _ => format!("{} (from one round)", digits(relative.ratio)),
    }
}

/// A time in ms with three digits that mean something.
pub(super) fn time(ms: f64) -> String {
    match ms {
        ms if ms >= 99.95 => format!("{ms:.0}"),
        ms if ms >= 9.995 => format!("{ms:.1}"),
        ms if ms >= 0.9995 => format!("{ms:.2}"),
        ms => format!("{ms:.4}"),
    }
}
