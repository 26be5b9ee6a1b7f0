//! Several devices side by side: the files and the summary that compare them.

use std::path::Path;

use anyhow::{Context, Result};
use blocklens_core::compare::{Across, Device, LeftOut};
use blocklens_core::report::{Report, across_html, across_markdown};
use blocklens_core::sealed;

use super::profile::store_path;
use super::report::now;
use super::{print_line, print_page, read_text};
use crate::args::Format;
use crate::command_line::command_line;
use crate::files;

/// The document that all others are made from, in a folder of several profiles.
pub const DOCUMENT: &str = "devices.json";
/// Largest document that is read, in bytes.
const LARGEST: u64 = 64 << 20;
/// The page, and the summary.
const OTHERS: [&str; 2] = ["devices.html", "devices.md"];

/// Refuses a folder whose files of these names are somebody else's.
pub fn claim(out: &Path) -> Result<()> {
    files::claim(out, DOCUMENT, OTHERS, "profile")
}

/// Compares devices, each with its name, the folder of its report, and the report; writes the files and prints the
/// summary. Those that were asked for and have no report are told with their reasons.
pub fn write_and_print(
    devices: &[(&str, &Path, &Report)],
    left_out: Vec<LeftOut>,
    out: &Path,
    format: Format,
) -> Result<()> {
    let sources: Vec<String> = devices
        .iter()
        .map(|(_, folder, _)| within(folder, out))
        .collect();
    let rows = devices.iter().zip(&sources);
    let rows: Vec<Device<'_>> = rows
        .map(|((name, _, report), source)| Device {
            name,
            source,
            report,
        })
        .collect();
    let across = Across {
        left_out,
        ..compared(&rows, None)?
    };
    write(&across, out)?;
    match format {
        Format::Json => print_line(&as_json(&across)?),
        Format::Text => {
            print_page(&across_markdown(&across))?;
            print_line("")?;
            print_line(&format!("Report: {}", out.join(OTHERS[0]).display()))
        }
    }
}

/// The comparison, with the command that asked for it.
pub fn compared(devices: &[Device<'_>], metric: Option<&str>) -> Result<Across> {
    let mut across = Across::new(devices, metric)?;
    across.command = command_line();
    across.created = now();
    Ok(across)
}

fn write(across: &Across, out: &Path) -> Result<()> {
    let write = |name: &str, text: &str| files::write(&out.join(name), text.as_bytes());
    // First the one that says whose the files are.
    write(DOCUMENT, &as_json(across)?)?;
    write(OTHERS[0], &across_html(across))?;
    write(OTHERS[1], &across_markdown(across))
}

/// Whether a file is one that a profile of several devices wrote to its folder.
pub fn is_ours(folder: &Path, name: &str) -> bool {
    (name == DOCUMENT || OTHERS.contains(&name)) && store_path(folder).is_file()
}

/// The comparison that a profile of several devices wrote to a folder, where there is one.
pub fn read(out: &Path) -> Result<Option<Across>> {
    let path = out.join(DOCUMENT);
    if !path.is_file() {
        return Ok(None);
    }
    let text = read_text(&path, LARGEST)?;
    let across = sealed::from_json(text.as_bytes());
    let across: Across = across.with_context(|| {
        format!(
            "{} cannot be read; `blocklens profile` with the same devices writes it again",
            path.display()
        )
    })?;
    Ok(Some(across))
}

/// The comparison as JSON.
pub fn as_json(across: &Across) -> Result<String> {
    sealed::to_json(across).context("the comparison cannot be written as JSON")
}

/// A folder as the page in another links to it.
fn within(folder: &Path, out: &Path) -> String {
    folder
        .strip_prefix(out)
        .unwrap_or(folder)
        .display()
        .to_string()
}
