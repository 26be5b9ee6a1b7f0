//! Devices side by side: nothing is claimed of devices that are alike, what they like differently is found, and the
//! intervals hold the truth.

use blocklens_core::compare::{Across, CompareError, Contrast, Device};
use blocklens_core::profile::MetricProfile;
use blocklens_core::report::{
    MeasurementSection, NetworkRow, PhaseMedians, Report, across_html, across_markdown,
};
use blocklens_core::space::Architecture;
use blocklens_core::stats::rank::rho_interval;
use blocklens_core::surrogate::SimulatedDevice;

use crate::compare::{campaign, report};
use crate::study::Study;

const NETWORKS: u64 = 60;

fn across(reports: &[&Report]) -> Across {
    let names = ["first", "second", "third"];
    let devices: Vec<Device<'_>> = reports
        .iter()
        .zip(names)
        .map(|(report, name)| Device {
            name,
            source: name,
            report,
        })
        .collect();
    Across::new(&devices, None).unwrap()
}

/// A device, and one that spends more on large kernels.
fn two_tastes(noise: f64) -> [Study; 2] {
    [0.0, 0.6].map(|large_kernels| {
        let device = SimulatedDevice {
            interaction: 0.1,
            large_kernels,
        };
        Study::of(device, noise)
    })
}

fn unchanged(_: &Architecture, y: f64) -> f64 {
    y
}

fn find<'a>(across: &'a Across, words: &str, unit: Option<usize>) -> &'a Contrast {
    let mut all = across.contrasts.iter();
    let found = all.find(|c| c.unit == unit && c.words() == words);
    found.unwrap_or_else(|| panic!("no contrast {words}"))
}

/// The same networks on three devices, of which one is slower, and all have noise of their own.
#[test]
fn devices_that_are_alike_are_not_told_apart() {
    let study = Study::new(0.2, 0.02);
    let claimed = (0..6).filter(|seed| {
        let again = |times: f64, noise: u64| {
            campaign(&study, *seed, NETWORKS, &move |arch, y| {
                times * y * (1.0 + 0.02 * jitter(arch, noise))
            })
        };
        let reports = [again(1.0, 1), again(3.0, 2), again(1.0, 3)];
        !across(&reports.each_ref()).claims().is_empty()
    });
    // Six at 5 %: two or more would be seen in one of 30 tests.
    let claimed = claimed.count();
    assert!(claimed <= 1, "{claimed}");
}

/// Between -1.7 and 1.7, and different for every architecture and device.
fn jitter(arch: &Architecture, device: u64) -> f64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (arch, device).hash(&mut hasher);
    3.4 * (hasher.finish() as f64 / u64::MAX as f64 - 0.5)
}

#[test]
fn what_devices_like_differently_is_found_and_intervals_hold_the_truth() {
    let [plain, large] = two_tastes(0.01);
    let truth = [&plain, &large].map(|study| report(study.space(), study.true_profile().0));
    let truth = across(&truth.each_ref());
    let (mut held, mut all) = (0, 0);
    for seed in 0..8 {
        let reports = [&plain, &large].map(|study| campaign(study, seed, NETWORKS, &unchanged));
        let found = across(&reports.each_ref());
        let seven = find(&found, "7x7 for 3x3", None);
        assert!(seven.differs() && seven.preferences[0].difference.difference.value > 0.01);
        assert_eq!(found.claims()[0].0.instead, "7x7");
        for (contrast, true_one) in found.contrasts.iter().zip(&truth.contrasts) {
            assert_eq!(contrast.words(), true_one.words());
            let interval = contrast.preferences[0].difference.difference;
            let value = true_one.preferences[0].difference.difference.value;
            held += u32::from(interval.low <= value && value <= interval.high);
            all += 1;
        }
    }
    let coverage = f64::from(held) / f64::from(all);
    assert!(coverage >= 0.93, "{coverage}");
}

/// A plain reference: the mean over placements of the difference of block effects, over the mean.
#[test]
fn contrasts_are_averages_of_effects_over_the_mean() {
    let [plain, large] = two_tastes(0.01);
    let reports = [&plain, &large].map(|study| campaign(study, 5, NETWORKS, &unchanged));
    let found = across(&reports.each_ref());
    for (i, report) in reports.iter().enumerate() {
        let metric = &report.profile.metrics[0];
        let share = |kernel| averaged(metric, kernel) / metric.mean.value;
        let expected = share(7) - share(3);
        let seven = find(&found, "7x7 for 3x3", None).shares[i].value;
        assert!((seven - expected).abs() < 1e-9, "{seven} {expected}");
    }
}

fn averaged(metric: &MetricProfile, kernel: u32) -> f64 {
    let all = metric.blocks.iter().filter(|b| b.kernel == Some(kernel));
    let effects: Vec<f64> = all.map(|b| b.effect.value).collect();
    effects.iter().sum::<f64>() / effects.len() as f64
}

#[test]
fn the_order_of_networks_and_the_good_ones_are_told() {
    let study = Study::new(0.0, 0.01);
    let measured = |values: [f64; 9]| {
        let mut report = campaign(&study, 1, NETWORKS, &unchanged);
        let mut accuracy = report.profile.metrics[0].clone();
        accuracy.metric.name = "accuracy".into();
        accuracy.metric.direction = blocklens_core::metric::Direction::HigherIsBetter;
        report.profile.metrics.push(accuracy);
        report.measurement = Some(section(&values));
        report
    };
    // The third device has the order of the first turned around but for the fastest.
    let first = measured([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let second = measured([2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]);
    let third = measured([1.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]);
    let found = across(&[&first, &second, &third]);
    let rho = |a, b| {
        let mut all = found.agreement.iter();
        all.find(|x| (x.a, x.b) == (a, b)).unwrap()
    };
    assert_eq!((rho(0, 1).rho, rho(0, 1).networks), (1.0, 9));
    assert!(rho(0, 1).low < 0.999 && rho(0, 2).rho < 0.0);
    let everywhere = found.everywhere.as_ref().unwrap();
    // Accuracy rises with the number of the network: all are on the first two fronts; on the third the most accurate of
    // those at most as slow, which are the fastest network and the last.
    assert_eq!(everywhere.fronts, [9, 9, 2]);
    let best: Vec<&str> = everywhere.best.iter().map(|n| n.arch.as_str()).collect();
    assert_eq!(best, ["network 8", "network 0"]);
    let (text, page) = (across_markdown(&found), across_html(&found));
    for part in [
        "least alike: ",
        "on the fronts of all 3 devices",
        "`network 8`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(page.contains("Networks that are good on all") && !page.contains("NaN"));
    let again: Across = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(across_html(&again), page);
}

fn section(values: &[f64]) -> MeasurementSection {
    let row = |(i, ms): (usize, &f64)| NetworkRow {
        arch: format!("network {i}"),
        raw_ms: *ms,
        corrected_ms: *ms,
        values: [("accuracy".to_owned(), i as f64)].into(),
    };
    MeasurementSection {
        device: serde_json::from_value(serde_json::json!({
            "engine": "test", "engine_version": "1", "threads": 1, "precision": "fp32", "cpu": "none", "cpus": 1,
            "system": "none", "governor": null, "frequency_mhz": null, "temperature_c": null, "memory_mib": null,
            "load": null
        }))
        .unwrap(),
        planned: values.len(),
        measured: values.len(),
        failed: 0,
        noise_floor: Some(0.01),
        reference: None,
        level: None,
        sentinels: Vec::new(),
        drift: Vec::new(),
        largest_correction: 0.0,
        converged: 1.0,
        set_aside: 0.0,
        samples: values.len(),
        statistic: "median".into(),
        phases: PhaseMedians {
            build_ms: 0.0,
            prepare_ms: 0.0,
            first_ms: 0.0,
            warm_up_ms: 0.0,
        },
        failures: Vec::new(),
        wall_s: 1.0,
        warnings: Vec::new(),
        networks: values.iter().enumerate().map(row).collect(),
    }
}

#[test]
fn one_device_or_two_spaces_are_refused() {
    let study = Study::new(0.0, 0.01);
    let a = campaign(&study, 1, NETWORKS, &unchanged);
    let device = |report| Device {
        name: "a",
        source: "a",
        report,
    };
    assert_eq!(Across::new(&[device(&a)], None), Err(CompareError::TooFew));
    assert_eq!(Across::new(&[], None), Err(CompareError::TooFew));
    let mut b = a.clone();
    b.profile.resolution = 128;
    let refused = Across::new(&[device(&a), device(&b)], None);
    assert!(matches!(refused, Err(CompareError::Differ { .. })));
    let unknown = Across::new(&[device(&a), device(&a)], Some("energy"));
    assert!(matches!(unknown, Err(CompareError::UnknownMetric { .. })));
}

/// By hand: z = 0.5493, its standard error 0.2573.
#[test]
fn intervals_of_rank_correlations_are_bonetts_and_wrights() {
    let (low, high) = rho_interval(0.5, 20).unwrap();
    assert!(
        (low - 0.045_079).abs() < 1e-5 && (high - 0.783_164).abs() < 1e-5,
        "{low} {high}"
    );
    let (low, high) = rho_interval(1.0, 24).unwrap();
    assert!(low < 1.0 && high == 1.0);
    assert!(rho_interval(0.5, 3).is_none());
}
