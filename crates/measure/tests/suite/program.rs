//! Programs as metrics: some that answer, and many that do not.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blocklens_core::measurement::Failure;
use blocklens_core::metric::{Metric, MetricError, Origin};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_measure::program::{self, Options, ProgramError, ProgramMetric};

fn space() -> DesignSpace {
    DesignSpace::builtin("ofa-mbv3", None).unwrap()
}

fn archs(count: usize) -> Vec<Architecture> {
    let (space, mut rng) = (space(), Seed(1).rng());
    (0..count)
        .map(|_| space.sample(224, &mut rng).unwrap())
        .collect()
}

fn options() -> Options {
    Options {
        jobs: 1,
        time_limit: Duration::from_secs(20),
        interrupted: Arc::new(AtomicBool::new(false)),
    }
}

const HELLO: &str = r#"read -r greeting
x='{"name": "x", "direction": "lower-is-better"}'
y='{"name": "y", "unit": "mJ", "direction": "higher-is-better"}'
echo "{\"metrics\": [$x, $y]}"
n=0
while read -r question; do
    n=$((n + 1))
    id=$(printf '%s' "$question" | sed 's/.*"id":\([0-9]*\).*/\1/')
"#;

/// A shell program that does this for every question, with its number in `n` and its id in `id`.
fn shell(body: &str) -> String {
    let script = format!("{HELLO}{body}\ndone\n");
    shell_words::join(["sh", "-c", &script])
}

fn open(command: &str, options: Options) -> Result<Vec<ProgramMetric>, ProgramError> {
    program::metrics(
        command,
        &[("x", "x@program"), ("y", "y@program")],
        &space(),
        options,
    )
}

fn failure(result: Result<f64, MetricError>) -> Failure {
    match result {
        Err(MetricError::Failed { failure, .. }) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_answer_serves_all_metrics_of_a_program() {
    let body = r#"echo "{\"id\": $id, \"values\": {\"x\": $n, \"y\": 2.5e-1}}""#;
    let metrics = open(&shell(body), options()).unwrap();
    assert_eq!(metrics[1].info().unit, "mJ");
    assert!(metrics[0].is_costly());
    for (n, arch) in (1..).zip(archs(5)) {
        assert_eq!(metrics[0].evaluate(&arch), Ok(f64::from(n)));
        assert_eq!(metrics[1].evaluate(&arch), Ok(0.25), "asked once");
    }
}

#[test]
fn what_is_no_number_is_a_failure_of_that_architecture_alone() {
    let body = r#"case $n in
        1) echo "{\"id\": $id, \"values\": {\"y\": 1}}" ;;
        2) echo "{\"id\": $id, \"values\": {\"x\": \"fast\"}}" ;;
        3) echo "{\"id\": $id, \"failure\": \"the board is off\"}" ;;
        *) echo "{\"id\": $id, \"values\": {\"x\": 7}}" ;;
    esac"#;
    let metrics = open(&shell(body), options()).unwrap();
    let archs = archs(4);
    let answer = |i: usize| metrics[0].evaluate(&archs[i]);
    assert!(failure(answer(0)).to_string().contains("missing"));
    assert!(failure(answer(1)).to_string().contains("\"fast\""));
    assert_eq!(
        failure(answer(2)).to_string(),
        "engine error: the board is off"
    );
    assert_eq!(answer(3), Ok(7.0));
}

#[test]
fn after_garbage_a_crash_or_a_wrong_id_it_is_started_again() {
    for (body, kind, why) in [
        (
            "[ $id = 1 ] && echo 'Loading model...'",
            "answer",
            "Loading model",
        ),
        (
            "[ $id = 1 ] && echo '{\"id\": 99, \"values\": {}}'",
            "answer",
            "id 1",
        ),
        (
            "[ $id = 1 ] && echo '{\"id\": 1, \"values\": {\"x\": NaN}}'",
            "answer",
            "NaN",
        ),
        ("[ $id = 1 ] && echo oh no >&2 && exit 3", "crash", "oh no"),
        ("[ $id = 1 ] && kill -SEGV $$", "crash", "signal"),
        ("[ $id = 1 ] && exec 1>&- && sleep 60", "crash", "closed"),
        (
            "[ $id = 1 ] && { sleep 60 & exit 6; }",
            "crash",
            "exit status: 6",
        ),
        (
            "[ $id = 1 ] && head -c 3000000 /dev/zero | tr '\\0' z",
            "answer",
            "longer than",
        ),
    ] {
        let body =
            format!("{body}\necho \"{{\\\"id\\\": $id, \\\"values\\\": {{\\\"x\\\": 5}}}}\"");
        let metrics = open(&shell(&body), options()).unwrap();
        let archs = archs(3);
        assert_eq!(metrics[0].evaluate(&archs[0]), Ok(5.0), "{body}");
        let failed = failure(metrics[0].evaluate(&archs[1]));
        assert_eq!(failed.kind(), kind, "{body}: {failed}");
        assert!(failed.to_string().contains(why), "{body}: {failed}");
        assert_eq!(metrics[0].evaluate(&archs[2]), Ok(5.0), "{body}");
    }
}

#[test]
fn a_hang_ends_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("alive");
    let body = format!(
        "(while true; do echo x >> {}; sleep 0.1; done) &\nsleep 600",
        mark.display()
    );
    let limit = Options {
        time_limit: Duration::from_secs(1),
        ..options()
    };
    let metrics = open(&shell(&body), limit).unwrap();
    let began = Instant::now();
    let failed = failure(metrics[0].evaluate(&archs(1)[0]));
    assert_eq!(failed, Failure::Hang { limit_s: 1 });
    assert!(began.elapsed() < Duration::from_secs(60));
    let size = || std::fs::metadata(&mark).map_or(0, |m| m.len());
    let then = size();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(size(), then, "its child is gone too");
}

#[test]
fn floods_of_errors_block_nothing() {
    let body = "head -c 2000000 /dev/zero | tr '\\0' e >&2\necho \"{\\\"id\\\": $id, \\\"values\\\": {\\\"x\\\": 1}}\"";
    let metrics = open(&shell(body), options()).unwrap();
    for arch in archs(3) {
        assert_eq!(metrics[0].evaluate(&arch), Ok(1.0));
    }
}

#[test]
fn a_program_that_always_dies_is_given_up() {
    let metrics = open(&shell("exit 1"), options()).unwrap();
    let failures: Vec<String> = archs(8)
        .iter()
        .map(|arch| failure(metrics[0].evaluate(arch)).to_string())
        .collect();
    assert!(
        failures[..5].iter().all(|f| f.contains("exit status: 1")),
        "{failures:?}"
    );
    assert!(
        failures[5..].iter().all(|f| f.contains("given up after 5")),
        "{failures:?}"
    );
}

#[test]
fn a_program_that_only_prints_garbage_is_given_up_too() {
    let metrics = open(&shell("echo hello"), options()).unwrap();
    let failures: Vec<Failure> = archs(6)
        .iter()
        .map(|arch| failure(metrics[0].evaluate(arch)))
        .collect();
    assert!(
        failures[..5].iter().all(|f| f.kind() == "answer"),
        "{failures:?}"
    );
    assert!(failures[5].to_string().contains("given up"), "{failures:?}");
}

/// More callers than processes: when the program is given up, nobody goes on waiting for it.
#[test]
fn nobody_waits_for_a_program_that_was_given_up() {
    let metrics = open(&shell("exit 1"), options()).unwrap();
    let archs = archs(16);
    let (sender, done) = std::sync::mpsc::channel();
    let metric = Arc::new(metrics);
    for some in archs.chunks(4) {
        let (metric, sender, some) = (Arc::clone(&metric), sender.clone(), some.to_vec());
        std::thread::spawn(move || {
            let failed = some.iter().all(|arch| metric[0].evaluate(arch).is_err());
            sender.send(failed)
        });
    }
    for _ in 0..4 {
        assert_eq!(done.recv_timeout(Duration::from_secs(60)), Ok(true));
    }
}

#[test]
fn what_does_not_work_at_all_is_told_at_once() {
    let error = |command: &str| open(command, options()).err().unwrap().to_string();
    assert!(error("").contains("it is empty"));
    assert!(error("sh -c 'x").contains("is not a command"));
    assert!(error("/no/such/program").contains("cannot start `/no/such/program`"));
    assert!(error("sh -c 'echo ready'").contains("must describe its metrics"));
    assert!(error("sh -c 'echo why >&2; exit 4'").contains("why"));
    let body = "echo \"{\\\"id\\\": $id, \\\"values\\\": {}}\"";
    let other = program::metrics(&shell(body), &[("z", "z")], &space(), options());
    assert!(other.err().unwrap().to_string().contains("it has x, y"));
}

#[test]
fn jobs_work_at_the_same_time() {
    let body = "sleep 3\necho \"{\\\"id\\\": $id, \\\"values\\\": {\\\"x\\\": 1}}\"";
    let two = Options {
        jobs: 2,
        ..options()
    };
    let metrics = open(&shell(body), two).unwrap();
    let archs = archs(2);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for arch in &archs {
            let metric = &metrics[0];
            scope.spawn(move || assert_eq!(metric.evaluate(arch), Ok(1.0)));
        }
    });
    assert!(
        began.elapsed() < Duration::from_millis(5_800),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_interruption_is_not_waited_out() {
    let options = options();
    let flag = Arc::clone(&options.interrupted);
    let metrics = open(&shell("sleep 600"), options).unwrap();
    let began = Instant::now();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        flag.store(true, Ordering::Relaxed);
    });
    failure(metrics[0].evaluate(&archs(1)[0]));
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_examples_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/program-metric");
    let size = format!("sh {}", root.join("size.sh").display());
    let size = program::metrics(&size, &[("size", "size")], &space(), options()).unwrap();
    let arch = &archs(1)[0];
    // Four bytes a parameter, and the graph.
    let bytes = size[0].evaluate(arch).unwrap();
    assert!((1e7..5e7).contains(&bytes), "{bytes}");
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let energy = format!("python3 {}", root.join("energy.py").display());
    let metrics = program::metrics(&energy, &[("energy", "energy")], &space(), options()).unwrap();
    assert_eq!(
        metrics[0].info().origin,
        Origin::Surrogate,
        "it says that it guesses"
    );
    let smallest = space().smallest(224).unwrap();
    // Ten layers of expansion 3 with 3x3 kernels.
    let value = metrics[0].evaluate(&smallest).unwrap();
    assert!((value - (8.0 + 0.4 * 30.0)).abs() < 1e-9, "{value}");
}

/// One metric of a program is asked about very many architectures before the next one is.
#[test]
fn metrics_that_are_evaluated_one_after_the_other_ask_once() {
    let body = r#"echo "{\"id\": $id, \"values\": {\"x\": $n, \"y\": $n}}""#;
    let metrics = open(&shell(body), options()).unwrap();
    let mut archs = archs(600);
    archs.sort();
    archs.dedup();
    let x = metrics[0].evaluate_many(&archs);
    assert_eq!(x.last(), Some(&Ok(archs.len() as f64)));
    assert_eq!(metrics[1].evaluate_many(&archs), x, "asked once");
}

/// A program that answers without reading fills the pipe: the next question must not wait for ever.
#[test]
fn a_question_that_is_not_read_is_bounded_by_the_time_limit() {
    let hello = r#"
        metric() { echo "{\"name\": \"$1\", \"direction\": \"lower-is-better\"}"; }
        echo "{\"metrics\": [$(metric x), $(metric y)]}"
        n=0
        while [ $n -lt 1000 ]; do echo "{\"id\": $n, \"values\": {\"x\": $n}}"; n=$((n + 1)); done
        exec sleep 600"#;
    let command = shell_words::join(["sh", "-c", hello]);
    let limit = Options {
        time_limit: Duration::from_secs(1),
        ..options()
    };
    let metrics = open(&command, limit).unwrap();
    let began = Instant::now();
    let mut answers = archs(1_010).into_iter().map(|a| metrics[0].evaluate(&a));
    let first_failure = answers.find(Result::is_err).unwrap();
    let failed = failure(first_failure);
    assert_eq!(failed, Failure::Hang { limit_s: 1 });
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_program_that_closes_its_input_is_no_hang() {
    let metrics = open(&shell("exec 0<&-; sleep 600"), options()).unwrap();
    let archs = archs(2);
    let began = Instant::now();
    let limit = Options {
        time_limit: Duration::from_secs(2),
        ..options()
    };
    let short = open(&shell("exec 0<&-; sleep 600"), limit).unwrap();
    assert_eq!(failure(short[0].evaluate(&archs[0])).kind(), "hang");
    drop(metrics);
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// What was interrupted was not tried: it is neither remembered nor counted as a death.
#[test]
fn interruptions_are_not_deaths() {
    let options = options();
    let flag = Arc::clone(&options.interrupted);
    let body =
        "[ -e \"$0\" ] || sleep 600\necho \"{\\\"id\\\": $id, \\\"values\\\": {\\\"x\\\": 3}}\"";
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("go");
    let script = format!("{HELLO}{body}\ndone\n");
    let command = shell_words::join(["sh", "-c", &script, mark.to_str().unwrap()]);
    let metrics = open(&command, options).unwrap();
    let archs = archs(9);
    flag.store(true, Ordering::Relaxed);
    for arch in &archs {
        assert_eq!(failure(metrics[0].evaluate(arch)).kind(), "not-tried");
    }
    flag.store(false, Ordering::Relaxed);
    std::fs::write(&mark, "").unwrap();
    for arch in &archs {
        assert_eq!(metrics[0].evaluate(arch), Ok(3.0));
    }
}

#[test]
fn the_program_says_where_its_numbers_come_from() {
    let body = r#"echo "{\"id\": $id, \"values\": {\"x\": 1}}""#;
    let metrics = open(&shell(body), options()).unwrap();
    assert_eq!(metrics[0].info().origin, Origin::Unstated);
    let measured = shell(body).replacen(
        r#""name": "x","#,
        r#""name": "x", "origin": "measured","#,
        1,
    );
    let metrics = open(&measured, options()).unwrap();
    assert_eq!(metrics[0].info().origin, Origin::Measured);
}

/// Values are recorded under what gave them: the command and the files that it names.
#[test]
fn another_script_is_another_identity() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("meter.sh");
    let body =
        format!("{HELLO}echo \"{{\\\"id\\\": $id, \\\"values\\\": {{\\\"x\\\": 1}}}}\"\ndone\n");
    std::fs::write(&script, &body).unwrap();
    let command = format!("sh {}", script.display());
    let identity = || open(&command, options()).unwrap()[0].identity().unwrap();
    let first = identity();
    assert_eq!(identity(), first);
    assert!(
        first.contains("sha256:") && first.contains("meter.sh"),
        "{first}"
    );
    std::fs::write(&script, body.replace("\\\": 1}", "\\\": 2}")).unwrap();
    assert_ne!(identity(), first);
}

/// A program may speak before it reads: the question that comes then waits for the one before, and is not lost.
#[test]
fn early_talkers_get_every_question() {
    let body = r#"echo "{\"id\": $id, \"values\": {\"x\": $n}}""#;
    let script =
        HELLO
            .replacen("read -r greeting\n", "", 1)
            .replacen("n=0", "read -r greeting\nn=0", 1);
    let script = format!("{script}{body}\ndone\n");
    let command = shell_words::join(["sh", "-c", &script]);
    for _ in 0..20 {
        let metrics = open(&command, options()).unwrap();
        for (n, arch) in (1..).zip(archs(2)) {
            assert_eq!(metrics[0].evaluate(&arch), Ok(f64::from(n)));
        }
    }
}
