//! Many devices side by side in Markdown, and the sentences and figures that the page shares with it.

use std::fmt::Write as _;

use super::format::{
    self, NBSP, capitalised, counted, decimals_for, millis, percent, plain, signed,
};
use super::markdown::escaped;
use super::view::origin_label;
use crate::compare::{Across, Contrast, DeviceRow, Everywhere, Preference};
use crate::metric::{Direction, Origin};
use crate::profile::Estimate;
use crate::shown::visible;

/// Sentences about choices that come first.
const SENTENCES: usize = 5;
/// Most devices whose correlations have their intervals beside them.
const FEW: usize = 4;
/// Networks that are listed as good on all devices.
const LISTED: usize = 10;

/// The comparison of devices as Markdown: what stands out, the devices, how alike they are, and what the choices of the
/// whole network cost each.
#[must_use]
pub fn across_markdown(across: &Across) -> String {
    let mut out = format!("# Devices compared: {}\n\n", escaped(&title(across)));
    for line in answers(across) {
        let _ = writeln!(out, "- {}", escaped(&line));
    }
    push_devices(&mut out, across);
    push_contrasts(&mut out, across);
    push_agreement(&mut out, across);
    if let Some(everywhere) = &across.everywhere {
        push_everywhere(&mut out, across, everywhere);
    }
    push_doubts(&mut out, across);
    visible(&out).into_owned()
}

/// What is compared, for headings.
pub(super) fn title(across: &Across) -> String {
    format!(
        "{} of {} (width {}) at {}{NBSP}px on {}",
        across.metric,
        across.space,
        across.width,
        across.resolution,
        counted(across.devices.len(), "device")
    )
}

/// What an engineer takes away: where devices differ most, and how alike they order networks.
pub(super) fn answers(across: &Across) -> Vec<String> {
    let mut lines: Vec<String> = widest(across).into_iter().take(SENTENCES).collect();
    if lines.is_empty() {
        lines.push(
            "No two devices differ surely in what a choice costs them relative to their own mean. That does not say \
             that they are alike: more networks would narrow the intervals."
                .into(),
        );
    }
    lines.extend(alike(across));
    lines.extend(stand_ins(across));
    let left_out = across.left_out.iter();
    lines.extend(left_out.map(|device| format!("Left out: {}: {}.", device.name, device.reason)));
    lines
}

/// One sentence for each choice in which devices differ surely, about the two that differ most; the widest first. What
/// holds of the whole network is told of that, and not once more of a unit.
fn widest(across: &Across) -> Vec<String> {
    let claims = across.claims();
    let of = |whole: bool| {
        let claims = claims.iter();
        claims.filter(move |(contrast, _)| contrast.unit.is_none() == whole)
    };
    let mut told: Vec<(&Contrast, &Preference)> = Vec::new();
    for &(contrast, preference) in of(true).chain(of(false)) {
        if !told
            .iter()
            .any(|(known, _)| is_same_choice(known, contrast))
        {
            told.push((contrast, preference));
        }
    }
    let size = |p: &Preference| p.difference.difference.value.abs();
    told.sort_by(|(_, a), (_, b)| size(b).total_cmp(&size(a)));
    let sentences = told.into_iter();
    sentences
        .map(|(contrast, preference)| sentence(across, contrast, preference))
        .collect()
}

/// Whether two are about the same alternatives, wherever.
fn is_same_choice(one: &Contrast, other: &Contrast) -> bool {
    one.of == other.of && one.instead == other.instead && one.base == other.base
}

fn sentence(across: &Across, contrast: &Contrast, preference: &Preference) -> String {
    let share = |device: usize| {
        let share = &contrast.shares[device];
        format!("{} on {}", share_text(share), across.devices[device].name)
    };
    let [mut more, mut less] = [preference.b, preference.a];
    if contrast.shares[more].value.abs() < contrast.shares[less].value.abs() {
        (more, less) = (less, more);
    }
    let apart = hundredfold(&preference.difference.difference);
    let digits = digits_of(&apart);
    let gap = plain(apart.value.abs(), digits);
    let [low, high] = [
        apart.low.abs().min(apart.high.abs()),
        apart.low.abs().max(apart.high.abs()),
    ];
    capitalised(&format!(
        "{}{} changes the mean {} by {}, and by {}: {gap} points apart [{}, {}].",
        contrast.words(),
        place(contrast),
        across.metric,
        share(more),
        share(less),
        plain(low, digits),
        plain(high, digits),
    ))
}

/// Where a choice is made, to follow its words.
pub(super) fn place(contrast: &Contrast) -> String {
    use crate::compare::ChangeOf;
    match (contrast.unit, contrast.of) {
        (Some(unit), ChangeOf::Average) => format!(" at one place of unit {unit}"),
        (Some(unit), _) => format!(" in unit {unit}"),
        (None, _) => " at one place".into(),
    }
}

fn alike(across: &Across) -> Option<String> {
    let by_rho =
        |a: &&crate::compare::Agreement, b: &&crate::compare::Agreement| a.rho.total_cmp(&b.rho);
    let most = across.agreement.iter().max_by(by_rho)?;
    let least = across.agreement.iter().min_by(by_rho)?;
    let name = |i: usize| &across.devices[i].name;
    let pair = |x: &crate::compare::Agreement| {
        format!(
            "{} and {}, {} [{}, {}]",
            name(x.a),
            name(x.b),
            plain(x.rho, 2),
            plain(x.low, 2),
            plain(x.high, 2)
        )
    };
    Some(match across.agreement.len() {
        1 => format!(
            "They order the {} that both measured alike to {} [{}, {}] (rank correlation).",
            counted(most.networks, "network"),
            plain(most.rho, 2),
            plain(most.low, 2),
            plain(most.high, 2)
        ),
        _ => format!(
            "Most alike in how they order networks (rank correlation): {}; least alike: {}.",
            pair(most),
            pair(least)
        ),
    })
}

/// What is said of devices that were not timed.
fn stand_ins(across: &Across) -> Option<String> {
    let named = |origin: Origin| {
        let rows = across.devices.iter().filter(|d| d.origin == origin);
        let names: Vec<&str> = rows.map(|d| d.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{} ({})", names.join(", "), origin.name()))
    };
    let all = [
        Origin::Estimated,
        Origin::Simulated,
        Origin::Surrogate,
        Origin::Proxy,
        Origin::Unstated,
    ];
    let named: Vec<String> = all.into_iter().filter_map(named).collect();
    (!named.is_empty()).then(|| format!("Not measured: {}.", named.join("; ")))
}

fn push_devices(out: &mut String, across: &Across) {
    let _ = write!(
        out,
        "\n## Devices\n\n| device | mean {} | noise floor | networks | what it is |\n|---|---:|---:|---:|---|\n",
        unit_in_brackets(across)
    );
    for device in &across.devices {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            escaped(&device.name),
            mean_text(device),
            noise_text(device),
            networks_text(device),
            escaped(&described(device))
        );
    }
}

pub(super) fn unit_in_brackets(across: &Across) -> String {
    match across.unit.as_str() {
        "" => String::new(),
        unit => format!("({unit})"),
    }
}

/// The level of a device, or that it is not known.
pub(super) fn mean_text(device: &DeviceRow) -> String {
    let mean = &device.mean;
    let digits = decimals_for(10.0 * mean.se.max(mean.value.abs() / 1e3));
    let text = format!(
        "{} {}",
        plain(mean.value, digits),
        format::interval(mean, digits)
    );
    match device.level_known {
        true => text,
        false => format!("not known; by CPU time {text}"),
    }
}

pub(super) fn noise_text(device: &DeviceRow) -> String {
    match (device.origin, device.noise_floor) {
        (Origin::Estimated, _) => "none".into(),
        (_, Some(floor)) => percent(floor, 1),
        (_, None) => "not known".into(),
    }
}

pub(super) fn networks_text(device: &DeviceRow) -> String {
    match (device.measured, device.failed) {
        (0, 0) => "\u{2013}".into(),
        (n, 0) => format::count(n),
        (n, failed) => format!("{}, {} failed", format::count(n), format::count(failed)),
    }
}

pub(super) fn described(device: &DeviceRow) -> String {
    format!("{}; {}", origin_label(device.origin), device.described)
}

fn push_contrasts(out: &mut String, across: &Across) {
    let whole: Vec<&Contrast> = across
        .contrasts
        .iter()
        .filter(|c| c.unit.is_none())
        .collect();
    let units: Vec<&Contrast> = across
        .contrasts
        .iter()
        .filter(|c| c.unit.is_some() && c.differs())
        .collect();
    let _ = write!(
        out,
        "\n## What a choice costs each device\n\n{}\n\n",
        explained()
    );
    push_table(out, across, &whole);
    if !units.is_empty() {
        out.push_str("\nWhere in the network devices differ surely:\n\n");
        push_table(out, across, &units);
    }
}

/// What the shares mean.
pub(super) fn explained() -> &'static str {
    "By how much of its own mean each device changes when one alternative stands for another at one place (blocks: the \
     average over all places), in per cent with 95 % intervals. Bold rows: some two devices differ surely; with 95 % \
     probability no such claim is wrong (Holm over all choices and pairs)."
}

/// The longer side goes down: terminals are narrow.
fn push_table(out: &mut String, across: &Across, contrasts: &[&Contrast]) {
    let devices: Vec<String> = across.devices.iter().map(|d| escaped(&d.name)).collect();
    let choices: Vec<String> = contrasts.iter().map(|c| choice(c)).collect();
    let share = |device: usize, choice: usize| share_text(&contrasts[choice].shares[device]);
    if devices.len() > choices.len() {
        push_grid(out, "device", &devices, &choices, &share);
    } else {
        push_grid(out, "choice", &choices, &devices, &|choice, device| {
            share(device, choice)
        });
    }
}

/// A choice as a head, bold where devices differ surely.
fn choice(contrast: &Contrast) -> String {
    let label = escaped(&label(contrast));
    match contrast.differs() {
        true => format!("**{label}**"),
        false => label,
    }
}

fn push_grid(
    out: &mut String,
    corner: &str,
    rows: &[String],
    columns: &[String],
    cell: &dyn Fn(usize, usize) -> String,
) {
    let _ = writeln!(out, "| {corner} | {} |", columns.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(columns.len()));
    for (i, row) in rows.iter().enumerate() {
        let cells: Vec<String> = (0..columns.len()).map(|j| cell(i, j)).collect();
        let _ = writeln!(out, "| {row} | {} |", cells.join(" | "));
    }
}

/// A contrast as the head of a row.
pub(super) fn label(contrast: &Contrast) -> String {
    match contrast.unit {
        Some(unit) => format!("unit {unit}: {}", contrast.words()),
        None => contrast.words(),
    }
}

/// A share in per cent with its interval: `+2.9 % [2.1, 3.6]`.
pub(super) fn share_text(share: &Estimate) -> String {
    let hundred = hundredfold(share);
    let digits = digits_of(&hundred);
    format!(
        "{}{NBSP}% {}",
        signed(hundred.value, digits),
        format::interval(&hundred, digits)
    )
}

/// Digits that show two of the half width and no more than three of the value.
fn digits_of(estimate: &Estimate) -> usize {
    let half = (estimate.high - estimate.low) / 2.0;
    decimals_for((10.0 * half).max(estimate.value.abs() / 10.0)).min(2)
}

pub(super) fn hundredfold(share: &Estimate) -> Estimate {
    Estimate {
        value: 100.0 * share.value,
        se: 100.0 * share.se,
        low: 100.0 * share.low,
        high: 100.0 * share.high,
    }
}

fn push_agreement(out: &mut String, across: &Across) {
    if across.agreement.is_empty() {
        return;
    }
    out.push_str("\n## How alike devices order networks\n\nRank correlation (Spearman) of the networks that both ");
    out.push_str(match across.devices.len() <= FEW {
        true => "measured, with its 95 % interval; noise makes it smaller.\n\n",
        false => "measured; noise makes it smaller. Intervals are on the page and in the JSON.\n\n",
    });
    let names: Vec<String> = across.devices.iter().map(|d| escaped(&d.name)).collect();
    push_grid(out, " ", &names, &names, &|row, column| {
        agreement_text(across, row, column)
    });
}

/// How alike two devices are, below the diagonal.
fn agreement_text(across: &Across, row: usize, column: usize) -> String {
    if row <= column {
        return String::new();
    }
    let mut all = across.agreement.iter();
    match all.find(|x| (x.a, x.b) == (column, row)) {
        None => "\u{2013}".into(),
        Some(x) if across.devices.len() > FEW => plain(x.rho, 2),
        Some(x) => format!(
            "{} [{}, {}]",
            plain(x.rho, 2),
            plain(x.low, 2),
            plain(x.high, 2)
        ),
    }
}

fn push_everywhere(out: &mut String, across: &Across, everywhere: &Everywhere) {
    let _ = write!(
        out,
        "\n## Networks that are good on all\n\n{}\n\n| {} |",
        escaped(&everywhere_line(across, everywhere)),
        escaped(&everywhere.against.name)
    );
    for device in &across.devices {
        let _ = write!(out, " {} |", escaped(&device.name));
    }
    out.push_str(" architecture |\n|---:|");
    across.devices.iter().for_each(|_| out.push_str("---:|"));
    out.push_str("---|\n");
    for network in everywhere.best.iter().take(LISTED) {
        let _ = write!(
            out,
            "| {} |",
            plain(network.value, decimals_for(network.value.abs() / 10.0))
        );
        for value in &network.on {
            let _ = write!(out, " {} |", on_text(across, *value));
        }
        let _ = writeln!(out, " `{}` |", network.arch);
    }
    push_rest(out, everywhere.best.len().saturating_sub(LISTED));
}

fn push_rest(out: &mut String, rest: usize) {
    if rest > 0 {
        let _ = writeln!(out, "\n{} more are not shown.", format::count(rest));
    }
}

/// A network's value on a device.
pub(super) fn on_text(across: &Across, value: f64) -> String {
    match across.unit.as_str() {
        "ms" => millis(value),
        unit => format!("{}{NBSP}{unit}", plain(value, decimals_for(value.abs()))),
    }
}

/// How many networks are on how many fronts.
pub(super) fn everywhere_line(across: &Across, everywhere: &Everywhere) -> String {
    let devices = across.devices.len();
    let fronts = everywhere.best.first().map_or(0, |network| network.fronts);
    let better = match everywhere.against.direction {
        Direction::HigherIsBetter => "higher",
        Direction::LowerIsBetter => "lower",
    };
    let which = match fronts == devices {
        true => format!("on the fronts of all {devices} devices"),
        false => format!("on the fronts of {fronts} of the {devices} devices, and none on more"),
    };
    format!(
        "Of the {} that all measured, {} {} {which}: no other is at least as good by {} and by {} ({better} is \
         better). Fronts are of these networks alone, as measured; blocklens search looks for better ones.",
        counted(everywhere.networks, "network"),
        format::count(everywhere.best.len()),
        if everywhere.best.len() == 1 {
            "is"
        } else {
            "are"
        },
        across.metric,
        everywhere.against.name
    )
}

fn push_doubts(out: &mut String, across: &Across) {
    let lines = doubt_lines(across);
    if lines.is_empty() {
        return;
    }
    out.push_str("\n## Doubts\n\n");
    for line in lines {
        let _ = writeln!(out, "- {}", escaped(&line));
    }
}

/// The doubts about all devices, one line each; one that all share is said once.
pub(super) fn doubt_lines(across: &Across) -> Vec<String> {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for device in &across.devices {
        for doubt in &device.doubts {
            let text = doubt.to_string();
            match lines.iter_mut().find(|(known, _)| *known == text) {
                Some((_, names)) => names.push(&device.name),
                None => lines.push((text, vec![&device.name])),
            }
        }
    }
    let all = across.devices.len();
    let told = lines
        .into_iter()
        .map(|(text, names)| match names.len() == all {
            true => format!("All devices: {text}"),
            false => format!("{}: {text}", names.join(", ")),
        });
    told.collect()
}
