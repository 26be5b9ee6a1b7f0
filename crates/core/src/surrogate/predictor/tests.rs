use std::collections::BTreeMap;
use std::path::PathBuf;

use rand::Rng as _;
use serde::Deserialize;

use super::*;
use crate::checkpoint::Tensor;
use crate::ofa::OfaDict;
use crate::seed::Seed;

const SPACES: [(&str, usize, usize); 2] = [("ofa-mbv3", 0, 128), ("ofa-resnet50", 1, 82)];

fn space(name: &str) -> DesignSpace {
    DesignSpace::builtin(name, None).unwrap()
}

/// Random weights under the names of a published predictor, with `width` hidden units.
fn made_up(published: usize, inputs: usize, width: usize) -> BTreeMap<String, Tensor> {
    let mut rng = Seed(5).rng();
    let mut tensor = |shape: &[usize]| {
        let values = (0..shape.iter().product::<usize>()).map(|_| {
            let unit = f64::from(u32::try_from(rng.next_u64() >> 40).unwrap()) / f64::from(1 << 24);
            (unit - 0.5) as f32
        });
        Tensor::new(shape.to_vec(), values.collect()).unwrap()
    };
    let names = &PUBLISHED[published].names;
    let mut tensors = BTreeMap::new();
    let mut columns = inputs;
    for layer in names.layers {
        tensors.insert(format!("{layer}.weight"), tensor(&[width, columns]));
        tensors.insert(format!("{layer}.bias"), tensor(&[width]));
        columns = width;
    }
    tensors.insert(names.last.into(), tensor(&[1, width]));
    tensors.insert(names.offset.into(), tensor(&[1]));
    tensors
}

fn predictor(space: &DesignSpace, tensors: BTreeMap<String, Tensor>) -> AccuracyPredictor {
    AccuracyPredictor::new("accuracy@x", space, &Checkpoint::from_tensors(tensors)).unwrap()
}

/// The feature vector of the package, from the dictionary.
fn one_hot(dict: &OfaDict, inputs: usize) -> Vec<f64> {
    let mut x = vec![0.0; inputs];
    let of = |list: &[f64], value: f64| list.iter().position(|v| *v == value).unwrap();
    let resolution = dict.r[0];
    if let Some(ks) = &dict.ks {
        for (unit, depth) in dict.d.iter().enumerate() {
            for layer in 4 * unit..4 * unit + depth {
                x[3 * layer + of(&[3.0, 5.0, 7.0], f64::from(ks[layer]))] = 1.0;
                x[60 + 3 * layer + of(&[3.0, 4.0, 6.0], dict.e[layer].value())] = 1.0;
            }
        }
        x[120 + (resolution as usize - 112) / 16] = 1.0;
        return x;
    }
    let all = [128.0, 144.0, 160.0, 176.0, 192.0, 224.0, 240.0, 256.0];
    x[of(&all, f64::from(resolution))] = 1.0;
    x[8 + usize::from(dict.d[0] > 0)] = 1.0;
    for (place, width) in dict.w.as_ref().unwrap().iter().enumerate() {
        x[10 + 3 * place + width] = 1.0;
    }
    let mut first = 0;
    for (base, extra) in [2, 2, 4, 2].into_iter().zip(&dict.d[1..]) {
        for layer in first..first + base + extra {
            x[28 + 3 * layer + of(&[0.2, 0.25, 0.35], dict.e[layer].value())] = 1.0;
        }
        first += base + 2;
    }
    x
}

/// The network in double precision, number by number.
fn naive(tensors: &BTreeMap<String, Tensor>, names: &Names, mut x: Vec<f64>) -> f64 {
    let dot =
        |row: &[f32], x: &[f64]| -> f64 { row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum() };
    for layer in names.layers {
        let (weight, bias) = (
            &tensors[&format!("{layer}.weight")],
            &tensors[&format!("{layer}.bias")],
        );
        let rows = weight.values().chunks(x.len()).zip(bias.values());
        x = rows
            .map(|(row, b)| (dot(row, &x) + f64::from(*b)).max(0.0))
            .collect();
    }
    let offset = f64::from(tensors[names.offset].values()[0]);
    100.0 * (dot(tensors[names.last].values(), &x) + offset)
}

fn draws(space: &DesignSpace, resolutions: &[u32], count: usize) -> Vec<Architecture> {
    let mut rng = Seed(7).rng();
    let each = resolutions.iter().cycle().take(count);
    each.map(|r| space.sample(*r, &mut rng).unwrap()).collect()
}

#[test]
fn equals_the_network_number_by_number() {
    for (name, published, inputs) in SPACES {
        let space = space(name);
        let tensors = made_up(published, inputs, 37);
        let metric = predictor(&space, tensors.clone());
        let archs = draws(&space, &[160, 176, 192, 224], 700);
        let together = metric.evaluate_many(&archs);
        for (arch, value) in archs.iter().zip(together) {
            let x = one_hot(&space.to_ofa(arch).unwrap(), inputs);
            let expected = naive(&tensors, &PUBLISHED[published].names, x);
            let value = value.unwrap();
            assert!(
                (value - expected).abs() < 1e-3,
                "{name}: {value} {expected}"
            );
            assert_eq!(metric.evaluate(arch), Ok(value), "alone and together");
        }
    }
}

#[test]
fn resolutions_that_it_does_not_know_are_refused_among_others() {
    for (name, published, inputs) in SPACES {
        let space = space(name);
        let metric = predictor(&space, made_up(published, inputs, 9));
        let archs = draws(&space, &[224, 132, 160, 216], 40);
        let alone: Vec<Option<f64>> = archs.iter().map(|a| metric.evaluate(a).ok()).collect();
        for ((arch, one), many) in archs.iter().zip(alone).zip(metric.evaluate_many(&archs)) {
            match many {
                Ok(value) => assert!((value - one.unwrap()).abs() < 1e-4),
                Err(error) => {
                    assert!([132, 216].contains(&arch.resolution()) && one.is_none());
                    let text = error.to_string();
                    assert!(
                        text.contains("160, 176, 192") && text.contains("224"),
                        "{text}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_part_of_the_space_has_the_values_of_the_whole() {
    let whole = space("ofa-mbv3");
    let source = DesignSpace::builtin_source("ofa-mbv3").unwrap();
    let part = source
        .replace("depth = [2, 4]", "depth = [2, 3]")
        .replace("{3,4,6}", "{6,3}");
    let part = DesignSpace::from_toml("part.toml", &part, Some(1.2)).unwrap();
    let tensors = made_up(0, 128, 20);
    let (of_whole, of_part) = (
        predictor(&whole, tensors.clone()),
        predictor(&part, tensors),
    );
    for arch in draws(&part, &[208], 50) {
        let same = whole.parse(&part.print(&arch)).unwrap();
        assert_eq!(of_part.evaluate(&arch), of_whole.evaluate(&same));
    }
}

#[test]
fn refuses_what_it_is_not_for() {
    let refusal = |space: &DesignSpace, tensors: BTreeMap<String, Tensor>| {
        let checkpoint = Checkpoint::from_tensors(tensors);
        AccuracyPredictor::new("accuracy@x", space, &checkpoint)
            .unwrap_err()
            .to_string()
    };
    let mbv3 = space("ofa-mbv3");
    let good = made_up(0, 128, 5);
    let narrow = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
    assert!(refusal(&narrow, good.clone()).contains("at width 1.2"));
    let resnet = refusal(&space("ofa-resnet50"), good.clone());
    assert!(resnet.contains("built-in ofa-mbv3"), "{resnet}");
    assert!(refusal(&mbv3, made_up(1, 82, 5)).contains("built-in ofa-resnet50"));
    assert!(refusal(&mbv3, BTreeMap::new()).contains("none of the predictors"));
    let changed = |key: &str, tensor: Option<Tensor>| {
        let mut tensors = good.clone();
        tensors.remove(key);
        tensors.extend(tensor.map(|t| (key.to_owned(), t)));
        refusal(&mbv3, tensors)
    };
    assert!(changed("2.bias", None).contains("`2.bias`"));
    let nan = Tensor::new(vec![5], vec![0.0, f32::NAN, 0.0, 0.0, 0.0]).unwrap();
    assert!(changed("4.bias", Some(nan)).contains("not finite"));
    let short = Tensor::new(vec![4], vec![0.0; 4]).unwrap();
    assert!(changed("4.bias", Some(short)).contains("shape [4] and not [5]"));
    let wide = Tensor::new(vec![5, 82], vec![0.0; 410]).unwrap();
    assert!(changed("0.weight", Some(wide)).contains("a predictor with 82 inputs"));
    let mut nas = made_up(1, 124, 5);
    let said = refusal(&mbv3, nas.clone());
    assert!(
        said.contains("a predictor with 124 inputs") && said.contains("4 resolutions"),
        "{said}"
    );
    nas.remove("layers.3.weight");
    assert!(refusal(&mbv3, nas).contains("none of the predictors"));
    let two = Tensor::new(vec![2], vec![0.0; 2]).unwrap();
    assert!(changed("6.bias", Some(two)).contains("single number"));
    let huge = Tensor::new(vec![1, 5], vec![f32::MAX; 5]).unwrap();
    let mut tensors = good.clone();
    tensors.insert("6.weight".into(), huge);
    let big = Tensor::new(vec![5], vec![f32::MAX; 5]).unwrap();
    tensors.insert("4.bias".into(), big.clone());
    tensors.insert("2.bias".into(), big);
    let metric = predictor(&mbv3, tensors);
    let value = metric.evaluate(&mbv3.smallest(224).unwrap());
    assert!(matches!(value, Err(MetricError::NotFinite { .. })) || value.is_ok_and(f64::is_finite));
}

#[derive(Deserialize)]
struct Golden {
    #[serde(flatten)]
    dict: OfaDict,
    accuracy: f64,
}

/// What the `ofa` package computes from its published predictors, where these are at hand.
#[test]
fn published_predictors_give_what_the_package_computes() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ofa");
    let golden = include_str!("../../../tests/golden/predicted_accuracies.json");
    let golden: BTreeMap<String, Vec<Golden>> = serde_json::from_str(golden).unwrap();
    for (set, file, name) in [
        ("ofa", "acc_predictor.pth", "ofa-mbv3"),
        (
            "ofa-resnet50",
            "ofa_resnet50_acc_predictor.pth",
            "ofa-resnet50",
        ),
    ] {
        let Ok(bytes) = std::fs::read(data.join(file)) else {
            eprintln!("skipped: the published accuracy predictors are not at hand ({file})");
            continue;
        };
        let checkpoint = Checkpoint::read(file, &bytes).unwrap();
        let space = space(name);
        let metric = AccuracyPredictor::new("accuracy@ofa", &space, &checkpoint).unwrap();
        let golden = &golden[set];
        assert!(golden.len() >= 60);
        let archs: Vec<Architecture> = golden
            .iter()
            .map(|g| space.from_ofa(&g.dict).unwrap())
            .collect();
        for (value, g) in metric.evaluate_many(&archs).into_iter().zip(golden) {
            let value = value.unwrap();
            assert!(
                (value / 100.0 - g.accuracy).abs() < 1e-5,
                "{:?}: {value} {}",
                g.dict,
                g.accuracy
            );
        }
    }
}
