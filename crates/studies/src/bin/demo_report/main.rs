//! Writes a demonstration report on a simulated device, to see what a report looks like.
//!
//! ```text
//! cargo run -p blocklens-studies --bin demo_report -- report.html [summary.md] [blocks.csv] [report.json]
//! ```

#[path = "../../../../core/tests/suite/demo_report.rs"]
mod data;

use std::error::Error;

use blocklens_core::report::{blocks_csv, render_html, summary_markdown};

fn main() -> Result<(), Box<dyn Error>> {
    let report = data::demo_report()?;
    let outputs = [
        render_html(&report),
        summary_markdown(&report),
        blocks_csv(&report.profile),
        report.to_json()?,
    ];
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        return Err("name the HTML file to write, such as report.html".into());
    }
    for (path, text) in paths.iter().zip(outputs) {
        std::fs::write(path, &text).map_err(|e| format!("{path}: {e}"))?;
        println!("{path}: {} bytes", text.len());
    }
    Ok(())
}
