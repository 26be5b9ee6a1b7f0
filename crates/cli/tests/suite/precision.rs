//! Profiles that stop when enough is known, and what they learnt as a metric.

use std::path::Path;
use std::process::Command;

use crate::common::{blocklens, fails, ok, stored};

fn profile(out: &Path, precision: &str) -> Command {
    let mut command = blocklens();
    let fixed = "profile --quiet --engine mock:noise=0.005 --resolution 128 --metric macs";
    command.args(fixed.split(' '));
    command.arg(format!("--precision={precision}"));
    command.arg("--out").arg(out);
    command
}

fn stderr(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn networks(out: &Path) -> usize {
    let rows = stored(out);
    rows.iter().filter(|row| row.plan_index.is_some()).count()
}

#[test]
fn a_precision_ends_a_campaign_and_a_finer_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let said = stderr(&mut profile(out, "8%"));
    assert!(said.contains("every effect is known to"), "{said}");
    let coarse = networks(out);
    assert!((10..100).contains(&coarse), "{coarse}");
    // Asked again, nothing more is measured; asked for more, the same campaign goes on.
    ok(&mut profile(out, "8%"));
    assert_eq!(networks(out), coarse);
    let said = stderr(profile(out, "0.01%").args(["--budget", &(coarse + 10).to_string()]));
    assert!(said.contains("the budget of"), "{said}");
    assert_eq!(networks(out), coarse + 10);
    for wrong in ["0", "-1%", "x", "101%"] {
        let said = fails(&mut profile(out, wrong));
        assert!(said.contains("such as 0.25%"), "{said}");
    }
}

#[test]
fn a_profile_leaves_a_model_that_predicts_other_networks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    ok(profile(out, "0.01%").args(["--budget", "60"]));
    let model = out.join("model.json");
    let text = std::fs::read_to_string(&model).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(
        document["held_out"]["mape"].as_f64().unwrap() < 0.05,
        "{text}"
    );
    let metric = format!("latency@model:{}", model.display());
    let archs = folder.path().join("archs");
    let sampled = ok(blocklens().args("arch sample -n 4 --resolution 128 --seed 9".split(' ')));
    std::fs::write(&archs, sampled).unwrap();
    let values = ok(blocklens()
        .args(["evaluate", "--metric", &metric])
        .arg(&archs));
    assert_eq!(values.lines().count(), 4, "{values}");
    assert!(
        values
            .lines()
            .all(|line| line.contains("latency@model.json")),
        "{values}"
    );
    let narrow = ["evaluate", "--width", "1.0", "--metric", &metric];
    let said = fails(blocklens().args(narrow).arg(&archs));
    assert!(said.contains("width 1.2"), "{said}");
    let wrong = format!("accuracy@model:{}", model.display());
    let said = fails(
        blocklens()
            .args(["evaluate", "--metric", &wrong])
            .arg(&archs),
    );
    assert!(said.contains("is a model of latency"), "{said}");
    let changed = text.replace("\"units\"", "\"unit\"");
    let unsealed = changed.replace("\"digest\"", "\"no-digest\"");
    for (text, why) in [(changed, "changed or damaged"), (unsealed, "unit")] {
        std::fs::write(&model, text).unwrap();
        let mut command = blocklens();
        let said = fails(command.args(["evaluate", "--metric", &metric]).arg(&archs));
        assert!(
            said.contains("as a block model") && said.contains(why),
            "{said}"
        );
    }
}
