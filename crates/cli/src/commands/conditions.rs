//! The conditions under which a report was made: one of other conditions is not replaced in passing.

use std::path::Path;

use anyhow::{Result, bail};
use blocklens_core::measurement::DeviceDescription;
use blocklens_core::report::{InputHash, Report};
use blocklens_core::space::DesignSpace;

use super::diff::read_report;
use super::profile::store_path;
use crate::files;

/// What a profile writes, besides its store.
const FILES: [&str; 6] = [
    "report.json",
    "report.html",
    "blocks.csv",
    "summary.md",
    "model.json",
    "values.jsonl",
];

/// What decides what a profile's numbers are about.
pub struct Conditions<'a> {
    pub space: &'a DesignSpace,
    pub resolution: u32,
    pub estimator: &'a str,
    pub seed: u64,
    /// The engine as it was asked for, with its version, and where it runs; `None` where nothing is measured.
    pub device: Option<(&'a str, &'a DeviceDescription)>,
    /// The names of all metrics.
    pub metrics: Vec<String>,
    /// The files that they were made from.
    pub inputs: &'a [InputHash],
}

/// What differs first: its name, what it is in the report, and what it would be.
pub type Difference = (&'static str, String, String);

impl Conditions<'_> {
    /// What makes another profile of the one whose report is in a folder. `None` where there is no report, or none
    /// that could be read.
    ///
    /// # Errors
    /// Where the folder has files of a report's names that no profile wrote.
    pub fn difference(&self, out: &Path) -> Result<Option<Difference>> {
        if !store_path(out).exists() {
            files::claim(out, "report.json", FILES, "profile")?;
        }
        let file = out.join("report.json");
        let report = file.is_file().then(|| read_report(&file).ok()).flatten();
        Ok(report.and_then(|report| self.from(&report)))
    }

    fn from(&self, report: &Report) -> Option<Difference> {
        let pairs = self.texts().into_iter().zip(texts(report));
        let differs = pairs.into_iter().find(|((_, here), there)| here != there);
        let plain = differs.map(|((what, here), there)| (what, there, here));
        plain
            .or_else(|| self.lost(report))
            .or_else(|| self.changed(report))
    }

    fn texts(&self) -> [(&'static str, String); 5] {
        let space = self.space;
        let device = |(engine, on): (&str, &DeviceDescription)| device(engine, on);
        [
            (
                "the space",
                space_text(space.name(), space.width(), space.digest()),
            ),
            ("the resolution", self.resolution.to_string()),
            ("the estimator", self.estimator.to_owned()),
            ("the seed", self.seed.to_string()),
            ("the device", self.device.map_or_else(no_device, device)),
        ]
    }

    /// Metrics may be added, but none may go.
    fn lost(&self, report: &Report) -> Option<Difference> {
        let there: Vec<&str> = report
            .profile
            .metrics
            .iter()
            .map(|m| &*m.metric.name)
            .collect();
        let gone = there
            .iter()
            .any(|name| self.metrics.iter().all(|here| here != name));
        gone.then(|| {
            (
                "the list of metrics",
                there.join(", "),
                self.metrics.join(", "),
            )
        })
    }

    /// A file of the same name that holds something else.
    fn changed(&self, report: &Report) -> Option<Difference> {
        let pairs = self.inputs.iter().map(|here| {
            let mut inputs = report.provenance.inputs.iter();
            (here, inputs.find(|there| there.name == here.name))
        });
        let mut changed = pairs.filter_map(|(here, there)| Some((here, there?)));
        let (here, there) = changed.find(|(here, there)| here.hash != there.hash)?;
        let text = |input: &InputHash| format!("{} ({})", input.name, input.hash);
        Some(("a file of the metrics", text(there), text(here)))
    }
}

/// What a report was made under, as [`Conditions::texts`].
fn texts(report: &Report) -> [String; 5] {
    let profile = &report.profile;
    let estimator = profile
        .metrics
        .first()
        .map(|metric| metric.estimator.clone());
    let measured = report.measurement.as_ref();
    let engine = report.provenance.engine.as_deref().unwrap_or_default();
    [
        space_text(
            &profile.space,
            profile.width,
            &report.provenance.space_digest,
        ),
        profile.resolution.to_string(),
        estimator.unwrap_or_default(),
        report.provenance.seed.to_string(),
        measured.map_or_else(no_device, |section| device(engine, &section.device)),
    ]
}

fn space_text(name: &str, width: f64, digest: &str) -> String {
    format!("{name} of width {width} ({digest})")
}

fn device(engine: &str, on: &DeviceDescription) -> String {
    let device = format!("{engine} with {} threads on {}", on.threads, on.cpu);
    match &on.host {
        Some(host) => format!("{device} of {host}"),
        None => device,
    }
}

fn no_device() -> String {
    "none".into()
}

/// Refuses to replace a report of other conditions; `resumable` where the folder's store has a campaign of these.
pub fn refuse(out: &Path, (what, there, here): &Difference, resumable: bool) -> Result<()> {
    let resume = match resumable {
        true => " --resume to go on with the campaign of these conditions that is stored there,",
        false => "",
    };
    bail!(
        "{} holds a report of other conditions: {what} is {there} there and {here} here; \
         give another folder with --out,{resume} or --fresh to replace it",
        out.display()
    )
}
