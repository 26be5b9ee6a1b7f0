//! Rounds: what is the same is seldom told to differ, what differs is told by how much, a failure is the one that it
//! is, and every engine runs files.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use blocklens_core::measurement::Failure;
use blocklens_core::model::{AskedShape, Element, ModelFormat, inspect};
use blocklens_core::network::{Weights, onnx};
use blocklens_core::rounds::{Ending, NetworkReport, Report, Settings, Verdict};
use blocklens_core::seed::Seed;
use blocklens_core::space::{DesignSpace, SpaceSource};
use blocklens_measure::engine::{self, Artefact, EngineOptions, ModelFile, inputs};
use blocklens_measure::job::SpaceText;
use blocklens_measure::protocol::Protocol;
use blocklens_measure::rounds::{
    Ended, Plan, PlannedNetwork, SessionJob, Sessions, Source, devices,
};
use blocklens_measure::runner::InProcess;

const SMALL: &str = include_str!("../../../core/tests/spaces/small.toml");

fn space() -> DesignSpace {
    DesignSpace::read("small", &SpaceSource::text(SMALL), None).unwrap()
}

/// The smallest network of the space, or the largest.
fn planned(name: &str, largest: bool) -> PlannedNetwork {
    let space = space();
    let resolution = space.default_resolution();
    let arch = match largest {
        true => space.largest(resolution),
        false => space.smallest(resolution),
    };
    let arch = space.print(&arch.unwrap());
    PlannedNetwork {
        report: NetworkReport {
            name: name.into(),
            architecture: Some(arch.clone()),
            space: None,
            file: None,
            sha256: None,
            format: None,
            inputs: Vec::new(),
        },
        source: Source::Architecture {
            space: SpaceText::of(&space),
            arch,
        },
    }
}

fn plan(networks: Vec<PlannedNetwork>, asked: &[&str], seed: u64, rounds: usize) -> Plan {
    let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
    Plan {
        networks,
        devices: devices(&asked, 1).unwrap(),
        settings: Settings {
            threads: 1,
            seed,
            precision: 0.02,
            most_rounds: rounds,
            most_seconds: None,
        },
        protocol: Protocol {
            // The simulated device is warm at once.
            warm_up_s: 0.0,
            ..Protocol::default()
        },
    }
}

fn run(plan: &Plan, sessions: &dyn Sessions) -> Report {
    plan.run(sessions, &AtomicBool::new(false), &mut |_| {})
}

/// The same network twice, or the same device twice, with noise that stays for a process's life, drift and a neighbour.
#[test]
fn the_same_is_told_to_differ_as_seldom_as_stated() {
    let device = "mock:noise=0.02,drift=0.3,neighbour=0.5,heavy=0.05";
    for (networks, devices) in [(2, 1), (1, 2)] {
        let networks = || (0..networks).map(|_| planned("net", false)).collect();
        let differs = |seed: &u64| {
            let plan = plan(networks(), &vec![device; devices], *seed, 12);
            let report = run(&plan, &InProcess);
            let told = report.entries.iter().filter_map(|entry| entry.relative);
            let told: Vec<Verdict> = told.map(|relative| relative.verdict).collect();
            assert_eq!(told.len(), 1);
            told[0] == Verdict::Slower
        };
        let found = (1..=150).filter(differs).count();
        // 5 % and twice the standard error of 150 runs.
        assert!(found <= 12, "{found} of 150 with {devices} devices");
    }
}

#[test]
fn what_differs_is_told_by_how_much() {
    let networks = || vec![planned("small", false), planned("large", true)];
    let exact = run(&plan(networks(), &["mock:noise=0"], 1, 2), &InProcess);
    let truth = exact.entries[1].relative.unwrap().ratio;
    let device = "mock:noise=0.02,drift=0.3,neighbour=0.5";
    let held = |seed: &u64| {
        let report = run(&plan(networks(), &[device], *seed, 12), &InProcess);
        let told = report.entries[1].relative.unwrap();
        assert_eq!(told.verdict, Verdict::Slower);
        told.low.unwrap() < truth && truth < told.high.unwrap()
    };
    let found = (1..=100).filter(held).count();
    assert!(found >= 90, "{found} of 100 intervals hold {truth}");
}

/// Answers what a script says, and else what is measured.
struct Scripted(fn(&SessionJob) -> Option<Failure>);

impl Sessions for Scripted {
    fn carry_out(&self, job: &SessionJob) -> Option<Ended> {
        match (self.0)(job) {
            Some(failure) => Some(Err(failure)),
            None => InProcess.carry_out(job),
        }
    }
}

fn crash() -> Option<Failure> {
    Some(Failure::Crash {
        message: "signal: 11".into(),
    })
}

#[test]
fn whoever_crashes_is_told_and_the_others_go_on() {
    let networks = || {
        ["a", "b", "c"]
            .map(|name| planned(name, name == "b"))
            .to_vec()
    };
    let everyone = |report: &Report| -> Vec<bool> {
        let all = report.entries.iter();
        all.map(|entry| entry.failure.is_none()).collect()
    };
    // The large one crashes from its third session on, with others and alone.
    let report = run(
        &plan(networks(), &["mock:noise=0.01"], 1, 8),
        &Scripted(|job| {
            let large = planned("", true).source;
            let partner = job
                .partner
                .as_ref()
                .is_some_and(|seat| seat.source == large);
            let is_large = job.subject.source == large || partner;
            (job.position > 8 && is_large).then(crash).flatten()
        }),
    );
    assert_eq!(everyone(&report), [true, false, true]);
    assert!(report.entries[1].ms.is_none() && report.entries[0].ms.is_some());
    assert_eq!(report.ended, Ending::Precise, "the others go on");
    // Two in one process, of which neither crashes alone.
    let report = run(
        &plan(networks(), &["mock:noise=0.01"], 1, 8),
        &Scripted(|job| job.partner.as_ref().and_then(|_| crash())),
    );
    let failed = everyone(&report).iter().filter(|works| !**works).count();
    assert_eq!(failed, 2, "the partner of both works");
    let told = report
        .entries
        .iter()
        .find_map(|entry| entry.failure.clone())
        .unwrap();
    assert!(told.to_string().contains("though not alone"), "{told}");
    // Everything.
    let report = run(&plan(networks(), &["mock"], 1, 8), &Scripted(|_| crash()));
    assert_eq!(report.ended, Ending::NothingWorks);
    assert!(report.numbers().is_empty() && report.answer[0].contains("Nothing"));
}

#[test]
fn an_interrupted_run_tells_what_its_rounds_say() {
    let networks = vec![planned("a", false), planned("b", true)];
    let plan = plan(networks, &["mock:noise=0.01"], 1, 100);
    let interrupted = AtomicBool::new(false);
    let report = plan.run(&InProcess, &interrupted, &mut |event| {
        if event.done == 6 {
            interrupted.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert_eq!((report.ended, report.rounds), (Ending::Interrupted, 4));
    assert!(report.entries[1].relative.unwrap().low.unwrap() > 1.0);
}

fn small_file() -> ModelFile {
    let space = space();
    let network = space.network(&space.smallest(space.default_resolution()).unwrap());
    let bytes = onnx::export(&network, &Weights::random(&network, Seed(1)), "x").unwrap();
    let inputs = inspect(&bytes).unwrap().with_shapes(&[]).unwrap();
    ModelFile {
        format: ModelFormat::Onnx,
        bytes,
        inputs,
    }
}

/// The engines that are here and take ONNX files.
fn for_every_engine(check: impl Fn(&dyn engine::Engine)) {
    for engine in engine::all() {
        let takes = engine.formats().contains(&ModelFormat::Onnx);
        match takes && engine.availability().is_available() {
            true => check(engine.as_ref()),
            false => println!(
                "skipping {}: it takes no ONNX, or is not here",
                engine.name()
            ),
        }
    }
}

#[test]
fn every_engine_computes_the_same_of_a_network_and_of_its_file() {
    let space = space();
    let network = space.network(&space.smallest(space.default_resolution()).unwrap());
    let weights = Weights::random(&network, Seed(1));
    let file = small_file();
    for_every_engine(|engine| {
        let own = Artefact::Network {
            network: &network,
            weights: &weights,
        };
        let outputs = [own, Artefact::File(&file)].map(|artefact| {
            let session = engine.prepare(&artefact, &EngineOptions::new(Seed(3)));
            let mut session = session.unwrap_or_else(|e| panic!("{e}"));
            session.run().unwrap();
            let image = engine::input(&network, Seed(9));
            (session.output().to_vec(), session.infer(&image).unwrap())
        });
        assert_eq!(outputs[0], outputs[1], "{}", engine.name());
    });
}

/// A protocol buffer's field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        out.push(128 | u8::try_from(length % 128).unwrap());
        length /= 128;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend(bytes);
    out
}

/// A tensor `name` of an element type and dimensions, of which 0 is an open one.
fn value(name: &str, element: u8, dims: &[u8]) -> Vec<u8> {
    let dim = |&dim: &u8| match dim {
        0 => field(1, &field(2, b"n")),
        dim => field(1, &[8, dim]),
    };
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    let tensor = [vec![8, element], field(2, &shape)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// Rows of a table by their numbers: two inputs, of which one holds whole numbers and is open.
fn gather() -> Vec<u8> {
    let node = [
        field(1, b"table"),
        field(1, b"ids"),
        field(2, b"rows"),
        field(4, b"Gather"),
    ]
    .concat();
    let graph = [
        field(1, &node),
        field(2, b"gather"),
        field(11, &value("table", 1, &[8, 4])),
        field(11, &value("ids", 7, &[2, 0])),
        field(12, &value("rows", 1, &[2, 0, 4])),
    ]
    .concat();
    [vec![8, 8], field(8, &[16, 14]), field(7, &graph)].concat()
}

#[test]
fn inputs_may_be_several_of_whole_numbers_and_open() {
    let bytes = gather();
    let found = inspect(&bytes).unwrap();
    assert!(
        found
            .with_shapes(&[])
            .unwrap_err()
            .to_string()
            .contains("--shape ids=")
    );
    let asked: AskedShape = "ids=2x3".parse().unwrap();
    let specs = found.with_shapes(&[asked]).unwrap();
    assert_eq!(
        (specs[1].element, &*specs[1].shape),
        (Element::Int64, &[2, 3][..])
    );
    let engine::Values::Float32(table) = &inputs(&specs, Seed(1))[0].values else {
        panic!("{specs:?}");
    };
    let row = &table[4..8];
    let file = ModelFile {
        format: ModelFormat::Onnx,
        bytes,
        inputs: specs.clone(),
    };
    for_every_engine(|engine| {
        if matches!(engine.name(), "ncnn" | "mnn") {
            let error = engine.prepare(&Artefact::File(&file), &EngineOptions::new(Seed(1)));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("one float32 input"), "{error}");
            return;
        }
        let session = engine.prepare(&Artefact::File(&file), &EngineOptions::new(Seed(1)));
        let mut session = session.unwrap_or_else(|e| panic!("{e}"));
        session.run().unwrap();
        // Token 1, six times.
        assert_eq!(session.output(), row.repeat(6), "{}", engine.name());
        assert!(
            session.infer(&[0.0; 32]).is_err(),
            "it takes more than one image"
        );
    });
}

#[test]
fn a_file_that_changes_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let ModelFile { bytes, inputs, .. } = small_file();
    std::fs::write(&path, &bytes).unwrap();
    let mut network = planned("net", false);
    network.source = Source::File {
        path: PathBuf::from(&path),
        sha256: blocklens_measure::files::sha256(b"another"),
        format: ModelFormat::Onnx,
        inputs,
    };
    if !engine::by_name("tract")
        .unwrap()
        .availability()
        .is_available()
    {
        println!("skipped: without tract");
        return;
    }
    let report = run(&plan(vec![network], &["tract"], 1, 1), &InProcess);
    let failure = report.entries[0].failure.as_ref().unwrap().to_string();
    assert!(
        failure.contains("changed while it was measured"),
        "{failure}"
    );
}
