//! Models learnt from measurements, as documents and as metrics.

use blocklens_core::metric::{Metric, MetricError};
use blocklens_core::profile::{Estimator, Fit, Observation, Pooled};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::surrogate::{
    BlockModel, BlockModelError, ModelMetric, SimulatedDevice, SimulatedLatency,
};

fn observations(space: &DesignSpace, count: u64) -> Vec<Observation> {
    let metric = SimulatedLatency::new(
        space.clone(),
        SimulatedDevice {
            interaction: 0.3,
            ..SimulatedDevice::default()
        },
    );
    let observe = |index| {
        let resolution = space.default_resolution();
        let draw = Pooled.draw(space, resolution, Seed(3), index).unwrap();
        let value = metric.evaluate(&draw.arch).unwrap();
        Observation { draw, value }
    };
    (0..count).map(observe).collect()
}

fn others(space: &DesignSpace, count: u64) -> Vec<Architecture> {
    let draw = |i| space.sample(space.default_resolution(), &mut Seed(9).index(i).rng());
    (0..count).map(|i| draw(i).unwrap()).collect()
}

fn learn(space: &DesignSpace, count: u64) -> BlockModel {
    let metric = SimulatedLatency::new(
        space.clone(),
        SimulatedDevice {
            interaction: 0.3,
            ..SimulatedDevice::default()
        },
    );
    BlockModel::learn(space, metric.info(), &observations(space, count)).unwrap()
}

/// The tables say what the fit says, with interactions and several widths, and also after being written and read.
#[test]
fn tables_are_the_fit() {
    let mixed = include_str!("../spaces/mixed.toml");
    let mixed = DesignSpace::from_toml("mixed.toml", mixed, None).unwrap();
    for space in [DesignSpace::builtin("ofa-mbv3", None).unwrap(), mixed] {
        let model = learn(&space, 150);
        let again = BlockModel::read("model.json", model.to_json().as_bytes()).unwrap();
        assert_eq!(again, model);
        let metric = ModelMetric::new("latency@model.json", &space, &again).unwrap();
        let archs = others(&space, 200);
        let fitted = Fit::new(&space, &observations(&space, 150)).unwrap();
        for (arch, prediction) in archs.iter().zip(fitted.predict(&archs)) {
            let value = metric.evaluate(arch).unwrap();
            let close = (value - prediction.mean).abs() < 1e-9 * prediction.mean.abs().max(1.0);
            assert!(close, "{arch}: {value} {prediction:?}");
        }
    }
}

/// What the document says of its error holds for networks that it has not seen.
#[test]
fn the_held_out_error_is_that_on_other_networks() {
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let model = learn(&space, 100);
    let said = model.held_out.unwrap();
    let metric = ModelMetric::new("latency@m", &space, &model).unwrap();
    let truth = SimulatedLatency::new(
        space.clone(),
        SimulatedDevice {
            interaction: 0.3,
            ..SimulatedDevice::default()
        },
    );
    let errors: Vec<f64> = others(&space, 300)
        .iter()
        .map(|arch| {
            let value = truth.evaluate(arch).unwrap();
            (metric.evaluate(arch).unwrap() / value - 1.0).abs()
        })
        .collect();
    let mape = errors.iter().sum::<f64>() / errors.len() as f64;
    assert!(
        mape < 1.5 * said.mape && said.mape < 2.0 * mape,
        "{mape} {said:?}"
    );
    assert!(said.within_5 > 0.9, "{said:?}");
}

#[test]
fn models_are_for_their_space_and_its_parts_only() {
    let space = DesignSpace::builtin("ofa-mbv3", Some(1.2)).unwrap();
    let model = learn(&space, 60);
    let source = DesignSpace::builtin_source("ofa-mbv3").unwrap();
    let text = source
        .replacen("{3,4,6}", "{3,6}", 1)
        .replacen("[2, 4]", "[3, 4]", 1);
    let part = DesignSpace::from_toml("part.toml", &text, Some(1.2)).unwrap();
    let (of_part, of_whole) = (
        ModelMetric::new("m", &part, &model).unwrap(),
        ModelMetric::new("m", &space, &model).unwrap(),
    );
    for arch in others(&part, 50) {
        let same = space.parse(&part.print(&arch)).unwrap();
        let (a, b) = (
            of_part.evaluate(&arch).unwrap(),
            of_whole.evaluate(&same).unwrap(),
        );
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
    let narrow = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
    let refused = ModelMetric::new("m", &narrow, &model).unwrap_err();
    assert!(refused.to_string().contains("width 1.2"), "{refused}");
    let small = space.sample(160, &mut Seed(1).rng()).unwrap();
    let refused = of_whole.evaluate(&small).unwrap_err();
    assert!(matches!(refused, MetricError::NotApplicable { .. }));
    assert!(refused.to_string().contains("224 pixels"), "{refused}");
}

type Change = &'static dyn Fn(&mut serde_json::Value);

/// Documents that were damaged by hand are refused with the place.
#[test]
fn damaged_documents_are_refused_with_the_place() {
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let whole = serde_json::to_value(learn(&space, 40)).unwrap();
    let damaged = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = whole.clone();
        change(&mut value);
        match BlockModel::read("m.json", value.to_string().as_bytes()) {
            Err(BlockModelError::Format { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    };
    let changes: [(&str, Change); 5] = [
        ("format is 7", &|v: &mut serde_json::Value| {
            v["format"] = 7.into();
        }),
        ("`units` has 4", &|v| {
            v["units"].as_array_mut().unwrap().pop();
        }),
        ("`units[1].layers[2]` has a `by_depth`", &|v| {
            v["units"][1]["layers"][2]["by_depth"][0] = serde_json::json!([1.0]);
        }),
        ("`units[0].layers[1]` has an `after`", &|v| {
            v["units"][0]["layers"][1]["after"] = serde_json::json!([[1.0]]);
        }),
        ("unknown field `x`", &|v| v["x"] = 1.into()),
    ];
    for (said, change) in changes {
        let reason = damaged(change);
        assert!(reason.contains(said), "{said}: {reason}");
    }
    assert!(BlockModel::read("m.json", b"{").is_err());
}
