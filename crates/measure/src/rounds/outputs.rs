//! Whether devices compute the same.

use blocklens_core::rounds::Doubt;

/// How far outputs may be apart, relative to the largest: on random weights engines that are right differ by up to two
/// thousandths.
const TOLERANCE: f64 = 5e-3;
/// The number format in which devices must agree: what is rounded to fewer bits differs by right.
const COMPARED: &str = "fp32";

/// What a device computed of a network.
pub(super) struct Output<'a> {
    pub network: &'a str,
    pub device: String,
    pub precision: &'a str,
    pub numbers: &'a [f32],
}

/// A doubt for each output that is not like the network's first one.
pub(super) fn compare(outputs: &[Output<'_>]) -> Vec<Doubt> {
    let comparable =
        |output: &&Output<'_>| output.precision == COMPARED && !output.numbers.is_empty();
    let outputs: Vec<&Output<'_>> = outputs.iter().filter(comparable).collect();
    let differs = |(place, output): (usize, &&Output<'_>)| {
        let mut before = outputs[..place].iter();
        let first = before.find(|first| first.network == output.network)?;
        let by = apart(first.numbers, output.numbers);
        by.is_none_or(|by| by > TOLERANCE)
            .then(|| Doubt::OutputsDiffer {
                network: output.network.to_owned(),
                a: first.device.clone(),
                b: output.device.clone(),
                by,
            })
    };
    outputs.iter().enumerate().filter_map(differs).collect()
}

/// The largest difference, relative to the largest number; `None` where there are not as many.
fn apart(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let scale = a.iter().chain(b).fold(0.0_f32, |most, x| most.max(x.abs()));
    let worst = a
        .iter()
        .zip(b)
        .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    Some(match worst > 0.0 {
        true => f64::from(worst) / f64::from(scale),
        false => 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output<'a>(device: &str, precision: &'a str, numbers: &'a [f32]) -> Output<'a> {
        Output {
            network: "net",
            device: device.to_owned(),
            precision,
            numbers,
        }
    }

    #[test]
    fn only_float32_is_compared_and_rounding_is_no_difference() {
        let (exact, near, far) = ([1.0, -8.0, 0.5], [1.01, -8.0, 0.5], [1.5, -8.0, 0.5]);
        let told = |precision, numbers| {
            compare(&[output("a", "fp32", &exact), output("b", precision, numbers)])
        };
        assert!(told("fp32", &exact).is_empty() && told("fp32", &near).is_empty());
        assert!(told("int8", &far).is_empty());
        let found = told("fp32", &far);
        let [
            Doubt::OutputsDiffer {
                a, b, by: Some(by), ..
            },
        ] = found.as_slice()
        else {
            panic!("{found:?}");
        };
        assert_eq!((&**a, &**b), ("a", "b"));
        assert!((by - 0.0625).abs() < 1e-9);
        let found = told("fp32", &far[..2]);
        assert!(matches!(found[..], [Doubt::OutputsDiffer { by: None, .. }]));
        // What gives no outputs (an estimate) is not compared.
        assert!(told("fp32", &[]).is_empty());
        assert_eq!(apart(&[0.0], &[0.0]), Some(0.0));
    }
}
