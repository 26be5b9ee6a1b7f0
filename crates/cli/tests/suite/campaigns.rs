//! Campaigns as a user runs them: killed, interrupted, starved, and continued.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::common::{blocklens, fails, ok, stored};
use serde_json::Value;

const CAMPAIGN: &[&str] = &[
    "profile",
    "--quiet",
    "--budget",
    "24",
    "--resolution",
    "128",
    "--metric",
    "macs",
];

fn profile(out: &std::path::Path, engine: &str) -> std::process::Command {
    let mut command = blocklens();
    command
        .args(CAMPAIGN)
        .args(["--engine", engine, "--out"])
        .arg(out);
    command
}

/// How many times the campaign is killed. `BLOCKLENS_KILLS=100 cargo test kill` tries harder.
fn kills() -> u64 {
    std::env::var("BLOCKLENS_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(25)
}

/// Killed at any instant and continued, a campaign ends with what an uninterrupted one has: nothing lost,
/// nothing measured twice, the same plan, the same samples.
#[test]
fn kill_minus_nine_at_any_instant_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = "mock:noise=0.02,drift=0.1,crash=0.05,nan=0.05";
    let whole = folder.path().join("whole");
    ok(&mut profile(&whole, engine));
    let expected = stored(&whole);
    assert_eq!(expected.len(), 29, "24 networks and 5 sentinels");

    let broken = folder.path().join("broken");
    let (mut landed, mut recorded) = (0, 0);
    for attempt in 0..kills() {
        let mut child = profile(&broken, engine)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over the start-up, the middle of a measurement and the writing of one, in no pattern.
        sleep(Duration::from_micros(
            3_000 + (attempt * 7_919_001) % 120_000,
        ));
        landed += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let now = if broken.join("measurements.db").exists() {
            stored(&broken).len()
        } else {
            0
        };
        assert!(
            now >= recorded,
            "attempt {attempt} lost {} measurements",
            recorded - now
        );
        recorded = now;
        if recorded == expected.len() {
            std::fs::remove_dir_all(&broken).unwrap();
            recorded = 0;
        }
    }
    assert!(
        landed > kills() / 2,
        "only {landed} of {} kills hit a running campaign",
        kills()
    );
    ok(&mut profile(&broken, engine));
    assert_eq!(stored(&broken), expected);
}

/// A budget is how far to go along one plan: a larger one continues a smaller one.
#[test]
fn a_larger_budget_continues() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    let run = |budget: &str, out: &std::path::Path| {
        let arguments = [
            "profile",
            "--quiet",
            "--engine",
            "mock:noise=0.01",
            "--budget",
            budget,
            "--out",
        ];
        ok(blocklens().args(arguments).arg(out))
    };
    run("20", &small);
    let first = stored(&small);
    run("30", &small);
    let both = stored(&small);
    assert_eq!(both[..first.len()], first);
    let large = folder.path().join("large");
    run("30", &large);
    assert_eq!(stored(&large), both);
}

/// On a noisy device a network of tens of ms is not known to 1 % within a third of a second.
#[test]
fn longer_sampling_knows_more_and_is_a_campaign_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let converged = |seconds: &str| {
        let mut command = profile(folder.path(), "mock:noise=0.05");
        ok(command.args(["--sampling-time", seconds]));
        let report = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        report["measurement"]["converged"].as_f64().unwrap()
    };
    let (short, long) = (converged("0.3"), converged("10"));
    assert!(short < 0.5 && long == 1.0, "{short} {long}");
    assert_eq!(converged("0.3"), short);
    for (seconds, said) in [
        ("121", "--time-limit 120"),
        ("0", "more than 0"),
        ("fast", "not a number"),
    ] {
        let mut command = profile(folder.path(), "mock");
        let text = fails(command.args(["--sampling-time", seconds]));
        assert!(text.contains(said), "{text}");
    }
}

/// The machine is half as slow again for half of the time, some dozen inferences on end: turns with a reference take
/// that out, and what was measured is kept raw.
#[test]
fn turns_with_a_reference_take_out_a_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    let section = |name: &str, engine: &str, pairing: &str| {
        let out = folder.path().join(name);
        ok(profile(&out, engine).args(["--pairing", pairing]));
        let report = std::fs::read_to_string(out.join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        report["measurement"].clone()
    };
    let (quiet, busy) = ("mock:noise=0.005", "mock:noise=0.005,neighbour=0.5");
    let truth = section("truth", quiet, "off");
    let (alone, paired) = (section("alone", busy, "off"), section("paired", busy, "on"));
    // How far apart networks lie that a machine without a neighbour finds equally fast.
    let spread = |section: &Value, of: &str| {
        let networks = |section: &Value| section["networks"].as_array().unwrap().clone();
        let pairs = networks(section).into_iter().zip(networks(&truth));
        let ratio = |(found, true_): (Value, Value)| {
            assert_eq!(found["arch"], true_["arch"]);
            found[of].as_f64().unwrap() / true_["corrected_ms"].as_f64().unwrap()
        };
        let ratios: Vec<f64> = pairs.map(ratio).collect();
        let most = ratios.iter().copied().fold(0.0, f64::max);
        most / ratios.iter().copied().fold(f64::INFINITY, f64::min)
    };
    assert!(spread(&alone, "corrected_ms") > 1.3);
    assert!(spread(&paired, "raw_ms") > 1.3);
    let left = spread(&paired, "corrected_ms");
    assert!(left < 1.06, "{left}");
    assert_eq!(alone["reference"], Value::Null);
    assert_eq!(paired["reference"]["response"], Value::Null);
    let pace = |quantile: &str| paired["reference"][quantile].as_f64().unwrap();
    assert!(pace("slow_ms") > 1.3 * pace("fast_ms"));
    // "auto" leaves a simulated device alone: the campaign of "off" goes on.
    let again = folder.path().join("alone");
    ok(&mut profile(&again, busy));
    assert_eq!(stored(&again).len(), 29);
}

/// A neighbour that slows down large networks by more than small ones: multiples of the smallest one do not tell the
/// whole.
#[test]
fn what_a_neighbour_does_to_large_networks_alone_is_taken_out_too() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut command = blocklens();
    command.args(["profile", "--quiet", "--budget", "60", "--pairing", "on"]);
    command.args(["--metric", "macs", "--engine"]);
    command.args(["mock:noise=0.002,neighbour=0.5,contention=0.1", "--out"]);
    ok(command.arg(&out));
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let response = report["measurement"]["reference"]["response"].as_f64();
    // A power of 0.1 for each factor e between the largest network and the reference.
    let response = response.expect("a response");
    assert!((0.02..0.5).contains(&response), "{response}");
    let floor = report["measurement"]["noise_floor"].as_f64().unwrap();
    assert!(floor < 0.015, "{floor}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("which was taken out by size"));
}

#[test]
fn failures_are_recorded_as_such_and_can_be_retried() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let engine = "mock:crash=0.1,hang=0.05,nan=0.1,error=0.1";
    let mut command = profile(out, engine);
    command.args(["--time-limit", "1"]);
    ok(&mut command);
    let kinds: Vec<String> = stored(out)
        .into_iter()
        .filter_map(|row| row.failure_kind)
        .collect();
    for kind in ["crash", "not-finite", "engine"] {
        assert!(
            kinds.iter().any(|k| k == kind),
            "{kind} is missing in {kinds:?}"
        );
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("not-finite"));
    let before = stored(out).len();
    command.arg("--retry-failed");
    ok(&mut command);
    let after = stored(out);
    assert!(
        after.len() > before,
        "a retry is a new attempt, kept beside the failure"
    );
    assert!(
        after
            .iter()
            .all(|row| (row.latency_ms.is_some()) == (row.failure_kind.is_none()))
    );
}

#[test]
fn an_engine_that_always_fails_stops_the_campaign_early() {
    let folder = tempfile::tempdir().unwrap();
    let output = profile(folder.path(), "mock:error=1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("all failed"),
        "{text}"
    );
    assert!(stored(folder.path()).len() < 12);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_keeps_everything_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = profile(folder.path(), "mock:delay-ms=5")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !folder.path().join("measurements.db").exists() {
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_millis(700));
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let status = child.wait().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(
        text.contains("the same command goes on") || text.contains("before anything"),
        "{text}"
    );
    ok(profile(folder.path(), "mock:delay-ms=5").arg("--resume"));
    assert_eq!(stored(folder.path()).len(), 29);
}
