//! Block effects as comma-separated values (RFC 4180).

use crate::metric::MetricInfo;
use crate::profile::{BlockEffect, Profile};
use crate::shown::csv_cell;

const HEADER: &str = "metric,metric_unit,origin,unit,layer,block,kernel,expansion,mean,mean_low,mean_high,effect,\
                      effect_se,effect_low,effect_high,p,adjusted_p,q,significant\n";

/// Every block effect of every metric, one line each below a header line.
///
/// `unit` and `layer` count from 1; `mean` and `effect` are in `metric_unit`; `p` is of the effect alone, `adjusted_p`
/// and `significant` are corrected for all effects of the metric, `q` is the false discovery rate. Numbers have the
/// digits that read back as the same number; one that is not finite is an empty field.
#[must_use]
pub fn blocks_csv(profile: &Profile) -> String {
    let mut out = HEADER.to_owned();
    for metric in &profile.metrics {
        for block in &metric.blocks {
            push_line(&mut out, &metric.metric, block);
        }
    }
    out
}

fn push_line(out: &mut String, metric: &MetricInfo, b: &BlockEffect) {
    let names = [&metric.name, &metric.unit].map(|text| csv_cell(text));
    let origin = format!("{:?}", metric.origin).to_lowercase();
    let numbers = [
        b.mean.value,
        b.mean.low,
        b.mean.high,
        b.effect.value,
        b.effect.se,
        b.effect.low,
        b.effect.high,
        b.p,
        b.adjusted_p,
        b.q,
    ]
    .map(number)
    .join(",");
    let line = format!(
        "{},{},{origin},{},{},{},{},{},{numbers},{}\n",
        names[0],
        names[1],
        b.unit,
        b.layer,
        csv_cell(&b.block),
        b.kernel.map_or_else(String::new, |k| k.to_string()),
        b.expansion.map_or_else(String::new, |e| e.to_string()),
        b.significant
    );
    out.push_str(&line);
}

fn number(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_or_empty() {
        assert_eq!(number(f64::NAN), "");
        assert_eq!(number(-0.1), "-0.1");
    }
}
