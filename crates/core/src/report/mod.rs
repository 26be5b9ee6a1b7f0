//! From a profile to something a person reads: one self-contained HTML page, Markdown, CSV.
//!
//! A [`Report`] is plain data that round-trips through JSON; every output is a pure function of it, so
//! a report can be rendered again, years later, from its JSON alone.
//!
//! | output | function | for |
//! |---|---|---|
//! | HTML | [`render_html`] | reading: tables, heatmaps and plots, no script, nothing fetched |
//! | Markdown | [`summary_markdown`] | pasting into an issue or a lab book |
//! | CSV | [`blocks_csv`] | other tools: every block effect, one line each |

mod across;
mod arrange;
mod comparison;
mod csv;
mod document;
mod format;
mod html;
mod interaction;
mod markdown;
mod ranks;
mod reduction;
mod view;

pub use self::csv::blocks_csv;
pub use across::across_markdown;
pub use comparison::comparison_markdown;
pub use document::{
    DriftPoint, FailureCount, InputHash, Level, MeasurementSection, NetworkRow, PhaseMedians,
    Provenance, REPORT_FORMAT, Reference, Report, SentinelReading, WarningCount,
};
pub use html::{across_html, comparison_html, contest_html, render_html};
pub use markdown::summary_markdown;
pub use reduction::reduction_markdown;
