//! What was typed, and what it means for these metrics.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use blocklens_core::metric::{Metric, MetricInfo};
use blocklens_core::quantity::Unit;
use blocklens_core::search::{Bound, Limit, Problem};
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_measure::coverage;
use blocklens_measure::metrics::{called_as, quantity_of};

use crate::args::GoalArgs;

/// A metric and a value of it, such as `latency=25ms`.
#[derive(Clone, Debug, PartialEq)]
struct Setting {
    /// As typed.
    text: String,
    /// What the metric is called.
    metric: String,
    number: f64,
    /// The unit behind the number, if one was typed.
    unit: String,
}

/// Metrics to improve, limits and a reference point, by name.
#[derive(Debug)]
pub struct Request {
    /// Every metric that is needed, as typed; those to improve come first.
    pub names: Vec<String>,
    /// What those to improve are called.
    objectives: Vec<String>,
    limits: Vec<(Bound, Setting)>,
    reference: Vec<Setting>,
}

impl Request {
    /// Takes what was typed apart.
    pub fn read(goal: &GoalArgs) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        for name in &goal.metric {
            if names.contains(name) {
                bail!("--metric names {name} twice");
            }
            names.push(name.clone());
        }
        let objectives: Vec<String> = names.iter().map(|name| called_as(name)).collect();
        let mut limits = Vec::new();
        let max = goal.max.iter().map(|text| (Bound::Max, text));
        let min = goal.min.iter().map(|text| (Bound::Min, text));
        for (bound, text) in max.chain(min) {
            let mut setting = Setting::read(text)?;
            match find(&setting.metric, &names)? {
                Some(name) => setting.metric = called_as(name),
                None => {
                    let name = setting.metric.clone();
                    setting.metric = called_as(&name);
                    names.push(name);
                }
            }
            limits.push((bound, setting));
        }
        let reference = goal.reference.iter();
        let mut reference = reference
            .map(|text| Setting::read(text))
            .collect::<Result<Vec<_>>>()?;
        for setting in &mut reference {
            match find(&setting.metric, &names[..objectives.len()])? {
                Some(name) => setting.metric = called_as(name),
                None => bail!(
                    "--reference {}: {} is not one of the metrics to improve: {}",
                    setting.text,
                    setting.metric,
                    objectives.join(", ")
                ),
            }
        }
        Ok(Self {
            names,
            objectives,
            limits,
            reference,
        })
    }

    /// The problem, with these metrics.
    pub fn problem<'a>(
        &self,
        space: &'a DesignSpace,
        resolutions: &[u32],
        metrics: &'a [Box<dyn Metric>],
    ) -> Result<Problem<'a>> {
        let infos: Vec<MetricInfo> = metrics.iter().map(|m| m.info().clone()).collect();
        let number = |called: &str| infos.iter().position(|info| info.name == called);
        let objectives: Vec<usize> = self.objectives.iter().filter_map(|o| number(o)).collect();
        let mut problem = Problem::new(space, resolutions, &infos, &objectives)?;
        coverage::check(metrics, problem.resolutions(), 1)?;
        for (index, metric) in metrics.iter().enumerate() {
            if !metric.is_costly() {
                problem = problem.with_free(index, metric.as_ref())?;
            }
        }
        for (bound, setting) in &self.limits {
            let Some(metric) = number(&setting.metric) else {
                bail!("there is no metric {} to limit", setting.metric);
            };
            problem = problem.with_limit(Limit {
                metric,
                bound: *bound,
                value: setting.value(&infos[metric])?,
            })?;
        }
        let listed = metrics.iter().filter_map(|m| m.listed());
        let sets = listed.map(|list| list.into_iter().collect::<BTreeSet<Architecture>>());
        let Some(mut listed) = sets.reduce(|a, b| &a & &b) else {
            return Ok(problem);
        };
        listed.retain(|arch| problem.has(arch));
        if listed.is_empty() {
            bail!(
                "no architecture at {:?} px has a value of all metrics that are tables: measure the same architectures \
                 for all",
                problem.resolutions()
            );
        }
        Ok(problem.with_listed(listed))
    }

    /// The reference point, in the order of the metrics to improve; none when none was typed.
    pub fn reference(&self, problem: &Problem<'_>) -> Result<Option<Vec<f64>>> {
        if self.reference.is_empty() {
            return Ok(None);
        }
        let mut point = Vec::new();
        for index in problem.objectives() {
            let info = &problem.metrics()[*index];
            let setting = self.reference.iter().find(|s| s.metric == info.name);
            let Some(setting) = setting else {
                bail!(
                    "--reference lacks {}: give a value for every metric to improve",
                    info.name
                );
            };
            point.push(setting.value(info)?);
        }
        Ok(Some(point))
    }
}

/// The name in `names` that is meant by `typed`: itself, what it is called, or what it counts where only one counts
/// that.
fn find<'n>(typed: &str, names: &'n [String]) -> Result<Option<&'n str>> {
    let called = called_as(typed);
    let exact = |name: &&String| *name == typed || [typed, &called].contains(&&*called_as(name));
    if let Some(name) = names.iter().find(exact) {
        return Ok(Some(name));
    }
    let quantity = |name: &&String| quantity_of(name) == quantity_of(typed);
    let alike: Vec<&String> = names.iter().filter(quantity).collect();
    match alike.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.as_str())),
        _ => {
            let names: Vec<&str> = alike.iter().map(|n| n.as_str()).collect();
            bail!("{typed} may be {}: write which", names.join(" or "))
        }
    }
}

impl Setting {
    fn read(text: &str) -> Result<Self> {
        let Some((metric, value)) = text.rsplit_once('=') else {
            bail!("{text:?} is not METRIC=VALUE, such as latency=25ms");
        };
        let value = value.trim();
        let is_number = |end: &usize| value.get(..*end).is_some_and(|v| v.parse::<f64>().is_ok());
        let end = (1..=value.len()).rev().find(is_number).unwrap_or(0);
        let number: f64 = value[..end].parse().unwrap_or(f64::NAN);
        if metric.trim().is_empty() || !number.is_finite() {
            bail!("{text:?} is not METRIC=VALUE with a finite number, such as latency=25ms");
        }
        Ok(Self {
            text: text.to_owned(),
            metric: metric.trim().to_owned(),
            number,
            unit: value[end..].trim().to_owned(),
        })
    }

    /// The number in the metric's unit.
    fn value(&self, info: &MetricInfo) -> Result<f64> {
        let first = info.unit.split_whitespace().next().unwrap_or_default();
        let same = |unit: &str| self.unit.eq_ignore_ascii_case(unit);
        if self.unit.is_empty() || same(&info.unit) || same(first) {
            return Ok(self.number);
        }
        let typed = Unit::of(&self.unit);
        if typed.name == info.unit {
            return Ok(typed.shown(self.number));
        }
        if let (true, Some((quantity, source))) = (info.unit.is_empty(), info.name.split_once('@'))
        {
            bail!(
                "{}: nothing says the unit of {}; say it behind its name, as {quantity}:{}@{source}",
                self.text,
                info.name,
                self.unit
            );
        }
        bail!(
            "{}: {} is in {}, and not in {}",
            self.text,
            info.name,
            info.unit,
            self.unit
        )
    }
}
