//! The accuracy of subnets on images, against PyTorch and the `ofa` package: `golden/images/make.py` says how the
//! figures were made.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blocklens_core::checkpoint::{Checkpoint, Tensor};
use blocklens_core::metric::{Metric, MetricError};
use blocklens_core::network::Pooling;
use blocklens_core::ofa::OfaDict;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_measure::data::{Catalogue, DataFolder};
use blocklens_measure::engine;
use blocklens_measure::metrics::{OpenError, Sources, open_all};
use blocklens_measure::supernet::{
    CacheOptions, Calibration, Options, Split, Supernet, SupernetError,
};
use blocklens_measure::{program, proxies};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    batch: usize,
    calibrating: Vec<String>,
    testing: Vec<String>,
    uncalibrated: Vec<String>,
    subnets: Vec<Subnet>,
}

#[derive(Deserialize)]
struct Subnet {
    arch: OfaDict,
    none: Expected,
    published: Expected,
    total: Expected,
}

#[derive(Deserialize)]
struct Expected {
    logits: Vec<Vec<f32>>,
    noise: f32,
    top1: usize,
    top5: usize,
    loss: f64,
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn images() -> PathBuf {
    here().join("tests/golden/images")
}

fn supernets() -> PathBuf {
    here().join("../core/tests/golden/supernets")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(images().join("images.json")).unwrap()).unwrap()
}

fn space() -> DesignSpace {
    let text = std::fs::read_to_string(supernets().join("mbv3.toml")).unwrap();
    DesignSpace::from_toml("mbv3", &text, None).unwrap()
}

fn checkpoint() -> Checkpoint {
    let bytes = std::fs::read(supernets().join("mbv3.pth")).unwrap();
    Checkpoint::read("mbv3.pth", &bytes).unwrap()
}

/// The engines that compute and are here.
fn engines() -> Vec<&'static str> {
    let computes = |name: &&str| {
        let engine = engine::by_name(name);
        engine.is_ok_and(|e| e.takes_graphs() && e.availability().is_available())
    };
    let names: Vec<&str> = engine::NAMES.into_iter().filter(computes).collect();
    if names.is_empty() {
        println!("skipping: no engine that computes is compiled in and found here");
    }
    names
}

fn options(folder: &Path, engine: &str) -> Options {
    Options {
        images: folder.to_owned(),
        classes: None,
        split: Split::Test,
        limit: None,
        calibration: Calibration {
            images: Some(0),
            batch: 4,
            pooling: Pooling::Total,
            folder: None,
        },
        seed: 1,
        skip_broken: false,
        engine: Some(engine.to_owned()),
        threads: 2,
        cache: None,
        interrupted: Arc::new(AtomicBool::new(false)),
    }
}

fn open(checkpoint: Checkpoint, options: Options) -> Result<Arc<Supernet>, SupernetError> {
    Supernet::open(&space(), checkpoint, "mbv3.pth", "hash", options).map(Arc::new)
}

fn value(
    supernet: &Arc<Supernet>,
    quantity: &str,
    arch: &Architecture,
) -> Result<f64, MetricError> {
    supernet.metric(quantity).unwrap().evaluate(arch)
}

#[test]
fn logits_and_accuracies_are_those_of_pytorch() {
    let (golden, space) = (golden(), space());
    for engine in engines() {
        for (kind, images, pooling) in [
            ("none", 0, Pooling::Total),
            ("published", golden.calibrating.len(), Pooling::Published),
            ("total", golden.calibrating.len(), Pooling::Total),
        ] {
            let mut options = options(&images_folder(), engine);
            options.calibration = Calibration {
                images: Some(images),
                batch: golden.batch,
                pooling,
                folder: None,
            };
            let supernet = open(checkpoint(), options).unwrap();
            for subnet in &golden.subnets {
                let arch = space.from_ofa(&subnet.arch).unwrap();
                let (expected, images) = match kind {
                    "none" => (&subnet.none, &golden.uncalibrated),
                    "published" => (&subnet.published, &golden.testing),
                    _ => (&subnet.total, &golden.testing),
                };
                let at = format!("{engine}, {kind}, {}", space.print(&arch));
                let logits = supernet.logits(&arch).unwrap();
                let names: Vec<&String> = logits.iter().map(|(name, _)| name).collect();
                assert_eq!(names, images.iter().collect::<Vec<_>>());
                let theirs = expected.logits.iter().flatten();
                let scale = theirs.clone().fold(0.0_f32, |m, x| m.max(x.abs()));
                let ours = logits.iter().flat_map(|(_, row)| row);
                let worst = ours
                    .zip(theirs)
                    .fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
                println!("{at}: {worst:e} of {scale}, PyTorch {:e}", expected.noise);
                // Another order of summation is as far from the truth as PyTorch's, give or take.
                let tolerance = 8.0 * expected.noise + 1e-6 * scale;
                assert!(
                    worst <= tolerance,
                    "{at}: {worst} of {scale}, noise {}",
                    expected.noise
                );
                let (top1, top5) = ranks(&logits);
                assert_eq!((top1, top5), (expected.top1, expected.top5), "{at}");
                if kind == "total" {
                    let percent = |hits: usize| 100.0 * hits as f64 / images.len() as f64;
                    let value = |quantity| value(&supernet, quantity, &arch).unwrap();
                    assert_eq!(value("accuracy"), percent(top1), "{at}");
                    assert_eq!(value("top5"), percent(top5), "{at}");
                    let (ours, theirs) = (value("loss"), expected.loss);
                    assert!(
                        (ours - theirs).abs() <= 1e-4 * (1.0 + theirs),
                        "{at}: {ours} {theirs}"
                    );
                }
            }
        }
    }
}

/// How many images have their class, which their names tell, first, and among the first five.
fn ranks(logits: &[(String, Vec<f32>)]) -> (usize, usize) {
    let rank = |(name, row): &(String, Vec<f32>)| {
        let class: usize = name[5..7].parse().unwrap();
        row.iter().filter(|logit| **logit > row[class]).count()
    };
    let ranks: Vec<usize> = logits.iter().map(rank).collect();
    let within = |most: usize| ranks.iter().filter(|rank| **rank < most).count();
    (within(1), within(5))
}

fn images_folder() -> PathBuf {
    images().join("folder")
}

#[test]
fn values_do_not_depend_on_threads_cache_or_company() {
    let Some(engine) = engines().first().copied() else {
        return;
    };
    let space = space();
    let archs: Vec<Architecture> = golden()
        .subnets
        .iter()
        .take(2)
        .map(|s| space.from_ofa(&s.arch).unwrap())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let with = |threads: usize, cached: bool| {
        let mut options = options(&images_folder(), engine);
        options.threads = threads;
        options.calibration.images = None;
        options.cache = cached.then(|| CacheOptions {
            folder: folder.path().to_owned(),
            limit: 1 << 20,
        });
        open(checkpoint(), options).unwrap()
    };
    let bits = |supernet: &Arc<Supernet>, arch: &Architecture| {
        let quantities = ["accuracy", "top5", "loss"];
        quantities.map(|q| value(supernet, q, arch).unwrap().to_bits())
    };
    let alone = with(1, false);
    let expected: Vec<_> = archs.iter().map(|arch| bits(&alone, arch)).collect();
    for (threads, cached) in [(3, true), (2, true)] {
        let supernet = with(threads, cached);
        assert_eq!(
            supernet.metric("loss").unwrap().info(),
            alone.metric("loss").unwrap().info()
        );
        let together: Vec<_> = std::thread::scope(|scope| {
            let (bits, supernet) = (&bits, &supernet);
            let ask = |arch| scope.spawn(move || bits(supernet, arch));
            let asked: Vec<_> = archs.iter().map(ask).collect();
            asked.into_iter().map(|a| a.join().unwrap()).collect()
        });
        assert_eq!(together, expected, "{threads} threads");
    }
    assert!(folder.path().read_dir().unwrap().count() > 20);
}

#[test]
fn parts_do_not_overlap_and_names_tell_them_apart() {
    let Some(engine) = engines().first().copied() else {
        return;
    };
    let arch = space().smallest(64).unwrap();
    let names = |split: Split, calibrate: Option<usize>| -> (Vec<String>, String) {
        let mut options = options(&images_folder(), engine);
        options.split = split;
        options.calibration.images = calibrate;
        let supernet = open(checkpoint(), options).unwrap();
        let logits = supernet.logits(&arch).unwrap();
        let metric = supernet.metric("accuracy").unwrap();
        (
            logits.into_iter().map(|(name, _)| name).collect(),
            metric.info().name.clone(),
        )
    };
    let (select, select_name) = names(Split::Select, None);
    let (test, test_name) = names(Split::Test, None);
    let (all, all_name) = names(Split::All, None);
    assert!(!select.is_empty() && !test.is_empty());
    assert!(select.iter().all(|name| !test.contains(name)));
    assert_eq!(all.len(), select.len() + test.len());
    assert!(all.len() < 60, "some are for calibrating");
    assert!(golden().calibrating.iter().all(|name| !all.contains(name)));
    assert!(
        test_name.starts_with("accuracy@mbv3.pth#test-"),
        "{test_name}"
    );
    assert!(select_name != test_name && all_name != test_name);
    // Without calibrating, all images count.
    let (everything, other_name) = names(Split::All, Some(0));
    assert_eq!(everything.len(), 60);
    assert_ne!(other_name, all_name);
    let (still_testing, _) = names(Split::Test, Some(0));
    assert!(test.iter().all(|name| still_testing.contains(name)));
    assert!(select.iter().all(|name| !still_testing.contains(name)));
}

/// Copies the golden folder, so that a file in it can be broken.
fn copied() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for class in images_folder().read_dir().unwrap() {
        let class = class.unwrap().path();
        let to = root.path().join(class.file_name().unwrap());
        std::fs::create_dir(&to).unwrap();
        for file in class.read_dir().unwrap() {
            let file = file.unwrap().path();
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    root
}

#[test]
fn broken_images_are_failures_or_accounted_for() {
    let Some(engine) = engines().first().copied() else {
        return;
    };
    let (golden, arch) = (golden(), space().smallest(64).unwrap());
    let root = copied();
    let broken = root.path().join(&golden.uncalibrated[3]);
    let whole = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let supernet = open(checkpoint(), options(root.path(), engine)).unwrap();
    let error = value(&supernet, "accuracy", &arch).unwrap_err();
    assert_eq!(error.kind(), "engine");
    let said = error.to_string();
    assert!(
        said.contains(&golden.uncalibrated[3]) && said.contains("--skip-broken"),
        "{said}"
    );
    let mut options = options(root.path(), engine);
    options.skip_broken = true;
    let supernet = open(checkpoint(), options).unwrap();
    let metric = supernet.metric("accuracy").unwrap();
    assert_eq!(metric.notes(), Vec::<String>::new());
    metric.evaluate(&arch).unwrap();
    let notes = metric.notes();
    assert_eq!(notes.len(), 1);
    let expected = format!("1 of {} images", golden.uncalibrated.len());
    assert!(
        notes[0].contains(&expected) && notes[0].contains(&golden.uncalibrated[3]),
        "{notes:?}"
    );
    let left: Vec<String> = supernet
        .logits(&arch)
        .unwrap()
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(left.len(), golden.uncalibrated.len() - 1);
}

/// The checkpoint with some tensors changed.
fn changed(change: impl Fn(&str, &mut Vec<f32>)) -> Checkpoint {
    let good = checkpoint();
    let tensors = good.keys().map(|key| {
        let tensor = good.get(key).unwrap();
        let mut values = tensor.values().to_vec();
        change(key, &mut values);
        (
            key.to_owned(),
            Tensor::new(tensor.shape().to_vec(), values).unwrap(),
        )
    });
    Checkpoint::from_tensors(tensors.collect::<Vec<_>>())
}

#[test]
fn broken_weights_give_no_number() {
    let Some(engine) = engines().first().copied() else {
        return;
    };
    let last = |key: &str| key.contains("classifier") && key.ends_with("weight");
    let nan = changed(|key, values| {
        if last(key) {
            values[5] = f32::NAN;
        }
    });
    let error = open(nan, options(&images_folder(), engine)).unwrap_err();
    assert!(
        matches!(&error, SupernetError::NotFinite(key) if key.contains("classifier")),
        "{error}"
    );
    // Finite, but what they compute is not.
    let huge = changed(|key, values| {
        if last(key) {
            values.fill(3e38);
        }
    });
    let supernet = open(huge, options(&images_folder(), engine)).unwrap();
    let error = value(&supernet, "accuracy", &space().smallest(64).unwrap()).unwrap_err();
    assert_eq!(error.kind(), "not-finite", "{error}");
}

#[test]
fn what_does_not_fit_is_refused_when_it_is_opened() {
    let Some(engine) = engines().first().copied() else {
        return;
    };
    let refused = |change: &dyn Fn(&mut Options)| {
        let mut options = options(&images_folder(), engine);
        change(&mut options);
        open(checkpoint(), options).unwrap_err().to_string()
    };
    let said = refused(&|o| o.calibration.images = Some(50));
    assert!(
        said.contains("images for calibrating, and 50 are needed"),
        "{said}"
    );
    let said = refused(&|o| o.images = images().join("nowhere"));
    assert!(said.contains("cannot read the images"), "{said}");
    let said = refused(&|o| o.engine = Some("mock".into()));
    assert!(said.contains("only tells times"), "{said}");
    let said = refused(&|o| o.engine = Some("abacus".into()));
    assert!(said.contains("abacus"), "{said}");
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "class00\nclass01\n").unwrap();
    let said = refused(&|o| o.classes = Some(list.path().into()));
    assert!(said.contains("class02"), "{said}");
    let wide = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let options = options(&images_folder(), engine);
    let error = Supernet::open(&wide, checkpoint(), "mbv3.pth", "hash", options).unwrap_err();
    assert!(matches!(error, SupernetError::Slice(_)), "{error}");
}

fn sources(images: Option<Options>) -> Sources {
    Sources {
        data: DataFolder::new(PathBuf::from("nowhere"), Catalogue::builtin()),
        programs: program::Options {
            jobs: 1,
            time_limit: std::time::Duration::from_secs(5),
            interrupted: Arc::new(AtomicBool::new(false)),
        },
        proxies: proxies::Options::default(),
        images,
    }
}

/// It would be recorded as a failure else, and never tried again.
#[test]
fn an_interruption_says_nothing_of_the_architecture() {
    let arch = space().smallest(96).unwrap();
    for engine in engines() {
        let options = options(&images_folder(), engine);
        let interrupted = Arc::clone(&options.interrupted);
        interrupted.store(true, Ordering::Relaxed);
        let supernet = open(checkpoint(), options).unwrap();
        let error = supernet.logits(&arch).unwrap_err();
        assert_eq!(error.kind(), "not-tried", "{error}");
        let error = value(&supernet, "accuracy", &arch).unwrap_err();
        assert_eq!(error.kind(), "not-tried", "{error}");
        interrupted.store(false, Ordering::Relaxed);
        value(&supernet, "accuracy", &arch).unwrap();
    }
}

#[test]
fn supernets_are_told_from_predictors_by_their_content() {
    let file = supernets().join("mbv3.pth").display().to_string();
    let names = ["accuracy", "top5"].map(|quantity| format!("{quantity}@{file}"));
    let error = open_all(&names, &space(), &sources(None)).err().unwrap();
    assert!(error.to_string().contains("--images"), "{error}");
    let Some(engine) = engines().first().copied() else {
        return;
    };
    let with = || sources(Some(options(&images_folder(), engine)));
    let chosen = open_all(&names, &space(), &with()).unwrap();
    assert_eq!(chosen.metrics.len(), 2);
    assert_eq!(chosen.inputs.len(), 1);
    assert!(chosen.metrics.iter().all(|metric| metric.is_costly()));
    assert!(
        chosen.notes[0].contains("for testing"),
        "{:?}",
        chosen.notes
    );
    let other = [format!("energy@{file}")];
    let error = open_all(&other, &space(), &with()).err().unwrap();
    assert!(
        error.to_string().contains("top5 and loss, not `energy`"),
        "{error}"
    );
    // What would run code, and what is cut short.
    let evil = here().join("../core/tests/golden/checkpoints/refused-evil.pth");
    let cut = tempfile::Builder::new().suffix(".pth").tempfile().unwrap();
    let whole = std::fs::read(supernets().join("mbv3.pth")).unwrap();
    std::fs::write(cut.path(), &whole[..whole.len() / 2]).unwrap();
    for path in [evil.as_path(), cut.path()] {
        let name = [format!("accuracy@{}", path.display())];
        let error = open_all(&name, &space(), &with()).err().unwrap();
        assert!(matches!(error, OpenError::Checkpoint { .. }), "{error}");
    }
}
