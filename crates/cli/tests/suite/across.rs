//! Several devices in one profile: measured in turn, reported each for itself and side by side.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{blocklens, fails, ok};

const PLAIN: &str = "mock:noise=0.01";
const OTHER: &str = "mock:noise=0.01,large-kernels=0.8";
const FOLDER_OF_OTHER: &str = "mock-noise-0.01-large-kernels-0.8";

fn profile(out: &Path, devices: &[&str], budget: &str) -> Command {
    let mut command = blocklens();
    command.args([
        "profile", "--quiet", "--metric", "macs", "--budget", budget, "--out",
    ]);
    command.arg(out);
    for device in devices {
        command.args(["--device", device]);
    }
    command
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// In turn or alone, in one go or in two: the same networks are measured, and the same comes out.
#[test]
fn devices_in_turn_are_profiled_as_each_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (both, alone) = (folder.path().join("both"), folder.path().join("alone"));
    ok(&mut profile(&both, &[PLAIN, OTHER], "12"));
    let text = ok(&mut profile(&both, &[PLAIN, OTHER], "40"));
    ok(&mut profile(&alone, &[OTHER], "40"));
    let csv = |folder: &Path| read(&folder.join("blocks.csv"));
    assert_eq!(csv(&both.join(FOLDER_OF_OTHER)), csv(&alone));
    assert!(both.join(FOLDER_OF_OTHER).join("model.json").is_file());
    assert!(
        text.contains("7x7 for 3x3 at one place changes the mean latency by")
            && text.contains("rank correlation")
            && text.contains("Not measured: "),
        "{text}"
    );
    let page = read(&both.join("devices.html"));
    assert!(
        page.contains(&format!("href=\"{FOLDER_OF_OTHER}/report.html\"")),
        "{page}"
    );

    let own = both.join("devices.html");
    let profiles = [&both.join("mock-noise-0.01"), &alone];
    let said = fails(
        blocklens()
            .arg("diff")
            .args(profiles)
            .arg("--output")
            .arg(&own),
    );
    assert!(
        said.contains("belongs to the profile in its folder"),
        "{said}"
    );

    // The same again from what is stored.
    let summary = read(&both.join("devices.md"));
    fs::remove_dir_all(both.join(FOLDER_OF_OTHER)).unwrap();
    ok(blocklens().args(["report", "--out"]).arg(&both));
    assert_eq!(read(&both.join("devices.md")), summary);
    assert_eq!(csv(&both.join(FOLDER_OF_OTHER)), csv(&alone));
}

#[test]
fn a_device_on_which_nothing_works_does_not_end_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let said = fails(&mut profile(out, &[PLAIN, "mock:error=1", OTHER], "24"));
    assert!(
        said.contains("error: mock:error=1: the first 8 measurements all failed")
            && said.contains("there is no profile of mock:error=1"),
        "{said}"
    );
    let page = read(&out.join("devices.md"));
    assert!(
        page.contains(OTHER) && page.contains("Left out: mock:error=1: "),
        "{page}"
    );
    assert!(!out.join("mock-error-1").exists());
    // The same command tries it once more, and not as often again.
    let said = fails(&mut profile(out, &[PLAIN, "mock:error=1", OTHER], "24"));
    assert_eq!(said.matches("failed on mock:error=1").count(), 1, "{said}");
}

#[test]
fn what_cannot_be_compared_is_told_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    for (devices, why) in [
        (&[PLAIN, PLAIN][..], "is named twice"),
        (&["all", PLAIN], "name no other beside it"),
        (&[PLAIN, "abacus"], "there is no engine `abacus`"),
        (
            &[PLAIN, "device:false"],
            "the engine `device:false` cannot be used here",
        ),
    ] {
        let said = fails(&mut profile(out, devices, "24"));
        assert!(said.contains(why), "{said}");
    }
    fs::write(out.join("mock-noise-0.01"), "in the way").unwrap();
    let said = fails(&mut profile(out, &[PLAIN, OTHER], "24"));
    assert!(said.contains("is in the way of the report"), "{said}");
    fs::remove_file(out.join("mock-noise-0.01")).unwrap();
    fs::write(out.join("devices.html"), "mine").unwrap();
    let said = fails(&mut profile(out, &[PLAIN, OTHER], "24"));
    assert!(
        said.contains("devices.html was not written by `blocklens profile`"),
        "{said}"
    );
    assert!(!out.join("measurements.db").exists());
}

#[test]
fn profiles_of_three_devices_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"];
    let paths = names.map(|name| folder.path().join(name));
    for (path, device) in paths.iter().zip([PLAIN, OTHER, "mock:noise=0.03"]) {
        ok(&mut profile(path, &[device], "40"));
    }
    let diff = || {
        let mut command = blocklens();
        command.arg("diff").args(&paths);
        command
    };
    let page = folder.path().join("devices.html");
    let json = ok(diff().args(["--format", "json", "--output"]).arg(&page));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["devices"].as_array().unwrap().len(), 3);
    assert_eq!(value["agreement"].as_array().unwrap().len(), 3);
    let mut contrasts = value["contrasts"].as_array().unwrap().iter();
    let seven = contrasts.find(|c| c["instead"] == "7x7" && c["unit"].is_null());
    let seven = seven.unwrap();
    let sure = |i: usize| seven["preferences"][i]["difference"]["sure"] == true;
    // Pairs: the first two, the first and the third, the last two.
    assert_eq!([sure(0), sure(1), sure(2)], [true, false, true], "{seven}");
    assert!(read(&page).contains("Devices compared"));
    // A page of this kind may be written over, a profile's own and somebody else's not.
    ok(diff().arg("--output").arg(&page));
    for name in ["report.json", "report.html"] {
        let said = fails(diff().arg("--output").arg(paths[0].join(name)));
        assert!(said.contains("was not written by this command"), "{said}");
    }
    // Of another metric, what is told is of that: counts are the same everywhere.
    let json = ok(diff().args(["--metric", "macs", "--format", "json"]));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut pairs = value["agreement"].as_array().unwrap().iter();
    assert!(pairs.all(|pair| pair["rho"] == 1.0), "{json}");
    let said = fails(diff().arg("--common"));
    assert!(
        said.contains("--common and --control are for two"),
        "{said}"
    );
    let said = fails(diff().args(["--metric", "latency,macs"]));
    assert!(said.contains("by one metric"), "{said}");
    let said = fails(blocklens().arg("diff").arg(&paths[0]));
    assert!(said.contains("PROFILE"), "{said}");
}
