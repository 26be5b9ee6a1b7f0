//! What every engine must do, and what they must agree on. Engines that are not available here are
//! checked for saying so, and skipped otherwise, with a line that says it.

use blocklens_core::network::{Network, Weights};
use blocklens_core::seed::Seed;
use blocklens_measure::engine::{
    self, Availability, Engine, EngineError, EngineOptions, EngineSpecError, Kind,
};

use crate::conformance::{self, prepare, subnet};

/// Runs a check on every engine that computes and is available here.
fn for_every_engine(check: impl Fn(&dyn Engine)) {
    for engine in engine::all() {
        if engine.kind() == Kind::Estimated {
            continue;
        }
        match engine.availability() {
            Availability::Available { version, detail } => {
                assert!(!version.is_empty() && !detail.is_empty());
                println!("checking {} {version} ({detail})", engine.name());
                check(engine.as_ref());
            }
            Availability::Unavailable { reason, .. } => {
                println!("skipping {}: {reason}", engine.name());
            }
        }
    }
}

#[test]
fn every_name_gives_its_engine() {
    let all = engine::all();
    let names: Vec<&str> = all.iter().map(|e| e.name()).collect();
    assert_eq!(names, engine::NAMES);
    for name in engine::NAMES {
        assert_eq!(engine::by_name(name).unwrap().name(), name);
    }
}

#[test]
fn specifications_that_mean_nothing_are_refused_with_what_would() {
    let error = engine::by_name("onnx").unwrap_err();
    assert!(error.to_string().contains("tract, ort, mock"), "{error}");
    assert!(matches!(
        engine::by_name("tract:fast").unwrap_err(),
        EngineSpecError::NoOptions {
            engine: "tract",
            ..
        }
    ));
    let error = engine::by_name("mock:nose=1").unwrap_err().to_string();
    assert!(
        error.contains("`nose`") && error.contains("noise"),
        "{error}"
    );
}

#[test]
fn unavailable_engines_say_why_and_what_to_do() {
    let model = subnet(1.0, 128, 0);
    for engine in engine::all() {
        let Availability::Unavailable { reason, remedy } = engine.availability() else {
            continue;
        };
        assert!(!reason.is_empty() && !remedy.is_empty());
        let error = prepare(engine.as_ref(), &model, &EngineOptions::new(Seed(0))).unwrap_err();
        assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(&reason), "{error}");
    }
}

#[test]
fn every_engine_that_is_here_passes_the_checks() {
    for engine in engine::all() {
        if engine.kind() == Kind::Simulated || !engine.availability().is_available() {
            continue;
        }
        for check in engine::check(engine.as_ref()) {
            assert!(check.found.is_ok(), "{}: {check:?}", engine.name());
        }
    }
}

/// Estimates have no noise, and a larger network takes longer.
#[test]
fn estimates_are_the_same_each_time() {
    for engine in engine::all() {
        if engine.kind() != Kind::Estimated || !engine.availability().is_available() {
            println!(
                "skipping {}: it is no estimator, or not here",
                engine.name()
            );
            continue;
        }
        let estimate = |model: &(Network, Weights)| {
            let mut session =
                prepare(engine.as_ref(), model, &EngineOptions::new(Seed(5))).unwrap();
            let times = [session.run().unwrap().wall, session.run().unwrap().wall];
            assert_eq!(times[0], times[1]);
            assert!(session.output().is_empty());
            times[0]
        };
        let small = subnet(1.0, 128, 1);
        assert_eq!(estimate(&small), estimate(&small));
        assert!(estimate(&small) < estimate(&subnet(1.2, 160, 1)));
        assert!(engine.chip().unwrap().contains("-"));
    }
}

#[test]
fn every_engine_keeps_the_contract() {
    for_every_engine(conformance::keeps_the_contract);
}

/// Largest difference of two outputs, relative to the largest number.
fn relative_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    let worst = a
        .iter()
        .zip(b)
        .fold(0.0_f32, |m, (x, y)| m.max((x - y).abs()));
    worst / scale
}

#[test]
fn real_engines_agree_on_what_networks_compute() {
    let real: Vec<_> = engine::all()
        .into_iter()
        .filter(|engine| !engine.is_simulated() && engine.availability().is_available())
        .filter(|engine| engine.precision() == "fp32")
        .collect();
    let [first, others @ ..] = real.as_slice() else {
        println!("skipping: no real engine is available");
        return;
    };
    if others.is_empty() {
        println!("skipping: `{}` has nothing to agree with", first.name());
    }
    for width in [1.0, 1.2] {
        for (seed, resolution) in [(10, 128), (11, 132), (12, 144)] {
            let model = subnet(width, resolution, seed);
            let input = engine::input(&model.0, Seed(seed));
            let infer = |engine: &dyn Engine| {
                let mut session = prepare(engine, &model, &EngineOptions::new(Seed(0))).unwrap();
                session.infer(&input).unwrap()
            };
            let expected = infer(first.as_ref());
            for other in others {
                let difference = relative_difference(&expected, &infer(other.as_ref()));
                assert!(difference < 5e-3, "{} {difference}", other.name());
            }
        }
    }
}

/// Libraries that are not what `ort` needs. Each is probed in a process of its own: a library stays loaded
/// for as long as a process lives.
#[cfg(all(feature = "ort", target_os = "linux"))]
mod ort_library {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use blocklens_measure::engine::{self, Availability};

    /// What [`probe`] runs.
    #[test]
    #[ignore = "started by the other tests of this module"]
    fn probe_in_child() {
        let spec = std::env::var("BLOCKLENS_TEST_SPEC").unwrap();
        let answer = engine::probe(&spec).unwrap();
        println!("\nANSWER {}", serde_json::to_string(&answer).unwrap());
    }

    /// Probes in a child process; `None` when it died.
    fn probe(spec: &str, variables: &[(&str, &str)]) -> Option<Availability> {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "engines::ort_library::probe_in_child",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env_remove("ORT_DYLIB_PATH")
            .env("BLOCKLENS_TEST_SPEC", spec)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = text.lines().find_map(|line| line.strip_prefix("ANSWER "))?;
        Some(serde_json::from_str(answer).unwrap())
    }

    fn reason(spec: &str, variables: &[(&str, &str)]) -> String {
        match probe(spec, variables) {
            Some(Availability::Unavailable { reason, remedy }) => {
                assert!(remedy.contains("ORT_DYLIB_PATH"), "{remedy}");
                reason
            }
            other => panic!("{spec}: {other:?}"),
        }
    }

    /// Compiles a library that looks like ONNX Runtime; `None` without a C compiler.
    fn fake_library(folder: &Path, name: &str, code: &str) -> Option<PathBuf> {
        let (source, library) = (
            folder.join(format!("{name}.c")),
            folder.join(format!("{name}.so")),
        );
        std::fs::write(&source, code).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        match compiled {
            Ok(status) if status.success() => Some(library),
            _ => {
                println!("skipping the fake library {name}: no C compiler");
                None
            }
        }
    }

    /// A library that says that it is this version of ONNX Runtime and has no functions.
    fn fake_runtime(version: &str) -> String {
        format!(
            "static const char *version(void) {{ return \"{version}\"; }}
         static const void *api(unsigned v) {{ (void)v; return 0; }}
         struct base {{ const void *(*get)(unsigned); const char *(*version)(void); }};
         static const struct base b = {{ api, version }};
         const struct base *OrtGetApiBase(void) {{ return &b; }}"
        )
    }

    #[test]
    fn faults_are_reported() {
        let folder = std::env::temp_dir().join(format!("blocklens-ort-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let spec = |path: &Path| format!("ort:{}", path.display());

        let missing = folder.join("none.so");
        assert!(reason(&spec(&missing), &[]).contains("No such file"));
        let by_variable = reason("ort", &[("ORT_DYLIB_PATH", &missing.display().to_string())]);
        assert!(
            by_variable.contains("named by ORT_DYLIB_PATH"),
            "{by_variable}"
        );
        assert!(reason(&spec(&folder), &[]).contains("is not a file"));

        let text = folder.join("text.so");
        std::fs::write(&text, "not a library").unwrap();
        assert!(reason(&spec(&text), &[]).contains("cannot be loaded as a library"));

        let pipe = folder.join("pipe.so");
        if Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .is_ok_and(|s| s.success())
        {
            assert!(reason(&spec(&pipe), &[]).contains("is not a file"));
        }

        let fake = |name: &str, code: &str| fake_library(&folder, name, code);
        if let Some(other) = fake("other", "int f(void) { return 1; }") {
            assert!(reason(&spec(&other), &[]).contains("but not ONNX Runtime"));
        }
        if let Some(old) = fake("old", &fake_runtime("1.16.3")) {
            let reason = reason(&spec(&old), &[]);
            assert!(reason.contains("1.16.3; 1.17 or later"), "{reason}");
        }
        if let Some(hollow) = fake("hollow", &fake_runtime("1.30.0")) {
            let reason = reason(&spec(&hollow), &[]);
            assert!(reason.contains("does not work as ONNX Runtime"), "{reason}");
        }
        if let Some(lethal) = fake(
            "lethal",
            "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }",
        ) {
            assert_eq!(probe(&spec(&lethal), &[]), None, "its code runs on loading");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn absence_is_reported() {
        let nowhere = [
            ("VIRTUAL_ENV", ""),
            ("CONDA_PREFIX", ""),
            ("BLOCKLENS_PYTHON", ""),
            ("PATH", ""),
        ];
        match probe("ort", &nowhere) {
            Some(Availability::Unavailable { reason, .. }) => {
                assert!(reason.contains("was not found"), "{reason}");
            }
            Some(Availability::Available { detail, .. }) => {
                assert!(detail.contains("the system's libraries"), "{detail}");
            }
            None => panic!("probing ended the process"),
        }
    }
}
