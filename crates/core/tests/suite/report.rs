//! The report's outputs, on the demonstration report and on what can be missing from one.

use std::sync::LazyLock;

use blocklens_core::metric::Origin;
use blocklens_core::report::{Report, blocks_csv, render_html, summary_markdown};

static DEMO: LazyLock<Report> = LazyLock::new(|| {
    crate::demo_report::demo_report().expect("the demonstration is made from valid parts")
});

const SECTIONS: [&str; 10] = [
    "findings",
    "kernels",
    "blocks",
    "ranks",
    "trade",
    "depth",
    "variance",
    "friendliness",
    "quality",
    "provenance",
];

/// No script, nothing fetched, every section there, every tag that matters closed.
fn check_page(html: &str) {
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    let lower = html.to_lowercase();
    for forbidden in [
        "<script", "http:", "https:", "src=", "@import", "url(", "<link", "nan", "inf]",
    ] {
        let hit = lower
            .find(forbidden)
            .map(|at| lower.get(at.saturating_sub(60)..at + 20));
        assert!(
            hit.is_none() || is_word(&lower, forbidden),
            "{forbidden}: {hit:?}"
        );
    }
    for id in SECTIONS {
        assert!(html.contains(&format!("<section id=\"{id}\"")), "{id}");
        assert!(html.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    for tag in ["section", "table", "figure", "svg", "td", "main"] {
        let open =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(open, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert_eq!(
        html.matches("<table").count(),
        html.matches("<caption").count(),
        "every table has a caption"
    );
}

/// "nan" as a part of a word, such as "resonance", is no number gone wrong.
fn is_word(text: &str, pattern: &str) -> bool {
    pattern == "nan"
        && text.match_indices(pattern).all(|(at, _)| {
            let bytes = text.as_bytes();
            bytes[at - 1].is_ascii_alphabetic() || bytes[at + 3].is_ascii_alphabetic()
        })
}

#[test]
fn the_page_is_one_small_file_with_everything() {
    let html = render_html(&DEMO);
    check_page(&html);
    for expected in [
        "simulated \u{2013} not a measurement",
        "unit 2, layer 1, mbconv3_e6_k7: ",
        "Simultaneous interval",
        "together with all others [",
        "Rank 1 is best",
        "unit 1, layer 1",
        "prefers-color-scheme: dark",
        "faster, more accurate",
        "0.45\u{a0}%",
        "crash: signal 11",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    assert!(
        !html.contains("class=\"absent\""),
        "nothing is missing from the demonstration"
    );
}

#[test]
fn json_reads_back_as_the_same_report() {
    let json = DEMO.to_json().unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back, *DEMO);
    assert_eq!(render_html(&back), render_html(&DEMO));
}

#[test]
fn csv_has_one_line_per_metric_and_combination() {
    let csv = blocks_csv(&DEMO.profile);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 3 * 180);
    let fields = lines[0].split(',').count();
    assert!(lines.iter().all(|l| l.split(',').count() == fields));
    assert!(lines[1].starts_with("latency,ms,simulated,1,1,mbconv3_e3_k3,3,3,"));
}

#[test]
fn names_of_others_bring_no_markup() {
    let mut report = DEMO.clone();
    let evil = "<script>alert('x')</script>\"|&";
    evil.clone_into(&mut report.title);
    evil.clone_into(&mut report.command);
    evil.clone_into(&mut report.profile.space);
    evil.clone_into(&mut report.provenance.created);
    evil.clone_into(&mut report.profile.findings[0].text);
    for metric in &mut report.profile.metrics {
        metric.metric.name.push_str(evil);
        metric.metric.unit.push_str(evil);
        evil.clone_into(&mut metric.metric.about);
        metric
            .blocks
            .iter_mut()
            .for_each(|b| b.block.push_str(evil));
        let items = metric.ranks.iter_mut().flat_map(|r| &mut r.items);
        items.for_each(|item| item.name.push_str(evil));
    }
    report
        .profile
        .friendliness
        .iter_mut()
        .for_each(|f| f.block.push_str(evil));
    let m = report.measurement.as_mut().unwrap();
    evil.clone_into(&mut m.device.cpu);
    evil.clone_into(&mut m.failures[0].example);
    m.networks.iter_mut().for_each(|n| n.arch.push_str(evil));
    check_page(&render_html(&report));
    assert!(!summary_markdown(&report).contains("<script"));
    let csv = blocks_csv(&report.profile);
    assert!(csv.contains("\"ms<script>alert('x')</script>\"\"|&\""));
}

#[test]
fn without_latency_the_page_says_so() {
    let mut report = DEMO.clone();
    report
        .profile
        .metrics
        .retain(|m| m.metric.name != "latency");
    report.profile.friendliness.clear();
    report.measurement = None;
    let html = render_html(&report);
    check_page(&html);
    assert!(html.contains("Friendliness compares time with work. It needs a latency"));
    assert!(html.contains("No device was measured for this report"));
    assert!(
        html.contains("fewer MACs, more accurate"),
        "MACs stand in for the cost"
    );
}

#[test]
fn without_accuracy_latency_is_set_against_macs() {
    let mut report = DEMO.clone();
    report
        .profile
        .metrics
        .retain(|m| m.metric.name != "accuracy");
    let html = render_html(&report);
    check_page(&html);
    assert!(html.contains("slower, fewer MACs"));
}

#[test]
fn one_metric_alone_has_no_trade() {
    let mut report = DEMO.clone();
    report.profile.metrics.truncate(1);
    let html = render_html(&report);
    check_page(&html);
    assert!(html.contains("A trade needs two metrics"));
}

#[test]
fn nothing_at_all_still_makes_a_page() {
    let mut report = DEMO.clone();
    report.profile.metrics.clear();
    report.profile.findings.clear();
    report.profile.friendliness.clear();
    report.warnings.clear();
    let m = report.measurement.as_mut().unwrap();
    m.measured = 0;
    m.noise_floor = None;
    m.sentinels.clear();
    m.drift.clear();
    m.failures.clear();
    m.warnings.clear();
    m.networks.clear();
    let html = render_html(&report);
    check_page(&html);
    assert!(html.contains("No metric was profiled yet"));
    assert!(html.contains("The sentinel network has no readings"));
    assert!(summary_markdown(&report).contains("No metric was profiled."));
    assert_eq!(blocks_csv(&report.profile).lines().count(), 1);
}

#[test]
fn metrics_without_their_tables_are_passed_over() {
    let mut report = DEMO.clone();
    for metric in &mut report.profile.metrics {
        metric.blocks.clear();
        metric.depths.clear();
        metric.averages.clear();
        metric.variance.clear();
        metric.ranks.clear();
        metric.simultaneous.clear();
        metric.additivity = None;
        metric.joint = None;
    }
    check_page(&render_html(&report));
}

#[test]
fn numbers_that_are_none_do_not_break_the_page() {
    let mut report = DEMO.clone();
    let metric = &mut report.profile.metrics[0];
    metric.sd = f64::NAN;
    metric.blocks[0].effect.value = f64::NAN;
    metric.blocks[1].effect.high = f64::INFINITY;
    metric.ranks[0].items[0].score.value = f64::NAN;
    metric.depths[0].effect.value = f64::NEG_INFINITY;
    metric.variance[0].share.value = f64::NAN;
    report.profile.friendliness[0].excess_ms.value = f64::NAN;
    report.measurement.as_mut().unwrap().sentinels[0].raw_ms = f64::NAN;
    let html = render_html(&report);
    check_page(&html);
    assert!(html.contains("n/a"));
}

#[test]
fn a_surrogate_is_named_as_one() {
    let mut report = DEMO.clone();
    report.profile.metrics[1].metric.origin = Origin::Surrogate;
    "A predictor with a mean error of 0.21 points."
        .clone_into(&mut report.profile.metrics[1].metric.about);
    let html = render_html(&report);
    assert!(html.contains("Accuracy is a surrogate, not a measurement."));
    assert!(html.contains("mean error of 0.21 points"));
}

#[test]
fn thousands_of_networks_stay_small() {
    let mut report = DEMO.clone();
    let m = report.measurement.as_mut().unwrap();
    let row = m.networks[0].clone();
    m.networks = vec![row; 20_000];
    let html = render_html(&report);
    check_page(&html);
    assert!(html.contains("evenly chosen, are drawn"));
}

#[test]
fn markdown_has_findings_tables_and_quality() {
    let markdown = summary_markdown(&DEMO);
    for expected in [
        "# Block profile",
        "## What stands out",
        "| kernel | expansion 3 | expansion 4 | expansion 6 | all |",
        "| 7\u{d7}7 |",
        "noise floor 0.45\u{a0}%",
        "- Kernels, best first, with the ranks that the data leave open: ",
        "- Doubt: ",
    ] {
        assert!(markdown.contains(expected), "{expected}");
    }
}
