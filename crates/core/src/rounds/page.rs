//! A report as a page of Markdown: the answer first.

use std::fmt::Write as _;

use super::answer::{ratio, time};
use super::report::{EntryReport, Report, Verdict};
use crate::shown::one_line;

/// The page: for a terminal, a file, or an issue somebody writes.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut page = format!("**{}**\n\n", escaped(&report.answer.join(" ")));
    table(report, &mut page);
    for entry in &report.entries {
        if let Some(failure) = &entry.failure {
            let what = of(report, entry);
            line(&mut page, &format!("No time of {what}: {failure}"));
        }
    }
    for doubt in &report.doubts {
        line(&mut page, &format!("Doubt: {doubt}"));
    }
    for network in &report.networks {
        if let Some(arch) = network
            .architecture
            .as_ref()
            .filter(|arch| **arch != network.name)
        {
            line(&mut page, &format!("{} is {arch}", network.name));
        }
    }
    for device in &report.devices {
        let d = &device.description;
        let threads = match d.threads {
            1 => "1 thread".to_owned(),
            n => format!("{n} threads"),
        };
        let text = format!(
            "{}: {} {}, {}, {threads}, {}; times are {}",
            device.name, d.engine, d.engine_version, d.precision, d.cpu, device.times
        );
        line(&mut page, &text);
    }
    let rounds = match report.rounds {
        1 => "1 round".to_owned(),
        n => format!("{n} rounds"),
    };
    let seed = report.settings.seed;
    line(
        &mut page,
        &format!("{rounds}, seed {seed}, {}", report.program),
    );
    page
}

fn line(page: &mut String, text: &str) {
    // Writing to memory cannot fail.
    let _ = writeln!(page, "- {}", escaped(text));
}

/// A text on one line, in which no character makes it a table, a heading or emphasis. Underlines within words do not.
fn escaped(text: &str) -> String {
    let text: Vec<char> = one_line(text).chars().collect();
    let word = |at: Option<usize>| {
        let c = at.and_then(|at| text.get(at));
        c.is_some_and(|c| c.is_alphanumeric())
    };
    let mut out = String::new();
    for (at, &c) in text.iter().enumerate() {
        let marks = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '|' | '#' => true,
            '_' => !(word(at.checked_sub(1)) && word(Some(at + 1))),
            _ => false,
        };
        if marks {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn of(report: &Report, entry: &EntryReport) -> String {
    let network = &report.networks[entry.network].name;
    format!("{network} on {}", report.devices[entry.device].label())
}

fn table(report: &Report, page: &mut String) {
    let several = report.devices.len() > 1;
    let mut columns = vec!["network"];
    if several {
        columns.push("device");
    }
    columns.extend([
        "ms",
        "sessions",
        "p90",
        "first",
        "prepare",
        "times the fastest",
    ]);
    let _ = writeln!(page, "| {} |", columns.join(" | "));
    let left = if several { "|---|---|" } else { "|---|" };
    let _ = writeln!(page, "{left}{}", "---:|".repeat(6));
    for place in ordered(report) {
        let entry = &report.entries[place];
        let mut cells = vec![escaped(&report.networks[entry.network].name)];
        if several {
            cells.push(escaped(&report.devices[entry.device].label()));
        }
        cells.extend(figures(entry, report.fastest() == Some(place)));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    page.push('\n');
}

/// The fastest first; what has no number last.
fn ordered(report: &Report) -> Vec<usize> {
    let mut places: Vec<usize> = (0..report.entries.len()).collect();
    let best = report.fastest();
    let key = |place: &usize| {
        let entry = &report.entries[*place];
        let known = entry.failure.is_none() && entry.ms.is_some();
        let relative = entry
            .relative
            .map_or(f64::INFINITY, |relative| relative.ratio);
        match known {
            true if Some(*place) == best => 0.0,
            true => relative,
            false => f64::INFINITY,
        }
    };
    places.sort_by(|a, b| key(a).total_cmp(&key(b)));
    places
}

fn figures(entry: &EntryReport, fastest: bool) -> [String; 6] {
    if entry.failure.is_some() {
        return ["failed", "", "", "", "", ""].map(str::to_owned);
    }
    let told = |ms: Option<f64>| ms.map_or_else(String::new, time);
    let spread = entry
        .ms_interval
        .map(|[low, high]| format!("{} to {}", time(low), time(high)));
    let relative = match &entry.relative {
        Some(relative) => {
            let note = match relative.verdict {
                Verdict::Slower => "",
                Verdict::Same => ", no difference",
                Verdict::CannotTell => ", cannot be told",
            };
            format!("{}{note}", ratio(relative))
        }
        None if fastest => "1".to_owned(),
        None => String::new(),
    };
    [
        told(entry.ms),
        spread.unwrap_or_default(),
        told(entry.p90_ms),
        told(entry.first_ms),
        told(entry.prepare_ms),
        relative,
    ]
}
