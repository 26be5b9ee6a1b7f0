//! From a campaign in the store to its report: the same values whether it has just ended or is read years later.

use std::collections::BTreeMap;

use blocklens_core::measurement::Warning;
use blocklens_core::metric::{Direction, Metric, MetricError, MetricInfo, Origin};
use blocklens_core::profile::{
    Designed, Draw, EstimateError, Estimator, FEWEST_POOLED, Finding, Friendliness, Layout, Legacy,
    Means, MetricProfile, Observation, Pooled, Profile, Sampled, findings, friendliness,
};
use blocklens_core::report::{Provenance, REPORT_FORMAT, Report};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace, SpaceError};
use blocklens_core::surrogate::{BlockModel, BlockModelError};
use blocklens_core::values::Account;

use crate::campaign::{CampaignError, CampaignSpec};
use crate::coverage::{self, CoverageError};
use crate::engine::{self, Kind};
use crate::evaluate::Value;
use crate::failures::{Failures, FailuresError};
use crate::metrics::{self, Chosen, OpenError, Sources};
use crate::readout::{Reading, Readout};
use crate::recording::RecordedMetric;
use crate::store::{Store, StoreError, StoredCampaign};

/// Architectures on which a computed metric is evaluated: it costs next to nothing, so its effects are
/// known far better than those of latency.
const COMPUTED_EVALUATIONS: u64 = 2_000;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The store or the plan cannot be read.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// The campaign's own description does not parse.
    #[error("the specification of campaign {id} does not parse: {reason}")]
    Spec {
        /// The campaign's number.
        id: i64,
        /// Why not.
        reason: String,
    },
    /// The campaign's space cannot be read.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// There is no such metric for this space.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A metric that was asked for by name is not for this resolution.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A metric has too few values for a profile.
    #[error(transparent)]
    Coverage(#[from] CoverageError),
    /// A metric takes too long to be evaluated for a report that is made again and again, and no values are recorded.
    #[error(
        "nothing is recorded of `{metric}` for this campaign: `blocklens profile` with the campaign's arguments and \
         --metric evaluates it, and a report takes it from there"
    )]
    NotRecorded {
        /// The metric's name.
        metric: String,
    },
    /// The latencies carry no model.
    #[error("no model of the latency: {reason}")]
    Model {
        /// Why not.
        reason: BlockModelError,
    },
    /// Too many architectures have no value, or because of what they are.
    #[error(transparent)]
    Failures(#[from] FailuresError),
    /// The observations of a metric carry no estimate.
    #[error("no profile of {metric}: {reason}")]
    Estimate {
        /// The metric's name.
        metric: String,
        /// Why not.
        reason: EstimateError,
    },
}

impl From<StoreError> for AnalysisError {
    fn from(error: StoreError) -> Self {
        Self::Campaign(error.into())
    }
}

/// The estimator called `name`.
#[must_use]
pub fn estimator(name: &str) -> Option<Box<dyn Estimator>> {
    match name {
        "designed" => Some(Box::<Designed>::default()),
        "pooled" => Some(Box::new(Pooled)),
        "sampled" => Some(Box::new(Sampled)),
        "legacy" => Some(Box::new(Legacy)),
        _ => None,
    }
}

/// The metrics named (`latency`, which is measured, left out), or the default ones as far as they are for this space
/// and resolution.
///
/// # Errors
/// [`AnalysisError::Open`] and [`AnalysisError::Metric`] for one that was named and is not for this space or
/// resolution.
pub fn metrics(
    names: &[String],
    space: &DesignSpace,
    resolution: u32,
    sources: &Sources,
) -> Result<Chosen, AnalysisError> {
    if names.is_empty() {
        let fits = |name: &str| {
            let chosen = metrics::open_all(&[name.to_owned()], space, sources).ok()?;
            check(&chosen, space, resolution).ok()?;
            Some(chosen)
        };
        let default = ["accuracy", "macs"].into_iter().filter_map(fits);
        return Ok(default.reduce(Chosen::and).unwrap_or_default());
    }
    let computed: Vec<String> = names.iter().filter(|n| *n != "latency").cloned().collect();
    let mut chosen = metrics::open_all(&computed, space, sources)?;
    check(&chosen, space, resolution)?;
    coverage::check(&chosen.metrics, &[resolution], FEWEST_POOLED)?;
    chosen
        .notes
        .extend(coverage::notes(&chosen.tables, &[resolution]));
    Ok(chosen)
}

/// Finds out before hours of work that a metric is not for this resolution.
fn check(chosen: &Chosen, space: &DesignSpace, resolution: u32) -> Result<(), MetricError> {
    let Ok(smallest) = space.smallest(resolution) else {
        return Ok(());
    };
    for metric in chosen.metrics.iter().filter(|metric| !metric.is_costly()) {
        // Other failures may be of this architecture alone: they are told when there are values.
        if let Err(error @ MetricError::NotApplicable { .. }) = metric.evaluate(&smallest) {
            return Err(error);
        }
    }
    Ok(())
}

/// What the report is about, besides the campaign itself.
#[derive(Debug)]
pub struct Request<'a> {
    /// Names of the metrics besides latency; empty for the default ones.
    pub metrics: &'a [String],
    /// What metrics are made from.
    pub sources: &'a Sources,
    /// Networks asked for; those recorded when `None`.
    pub budget: Option<u64>,
    /// The command that asked.
    pub command: String,
    /// Now (UTC), for the report's head.
    pub created: String,
    /// A faster engine that was found and not used.
    pub faster_engine: Option<String>,
    /// Report also where failures make it one of what works, with a doubt.
    pub allow_failures: bool,
}

/// Makes the report of a stored campaign.
///
/// # Errors
/// [`AnalysisError`].
pub fn report(
    store: &Store,
    campaign: &StoredCampaign,
    request: &Request<'_>,
) -> Result<Report, AnalysisError> {
    let Stored {
        spec,
        space,
        estimator,
    } = Stored::read(campaign)?;
    let readout = Readout::read(store, campaign.id, &spec, &space, estimator.as_ref())?;
    let (names, recorded) = recorded(store, campaign.id, &space, request.metrics)?;
    let Chosen {
        mut metrics,
        inputs,
        tables,
        ..
    } = match (&*names, request.metrics.is_empty()) {
        // Nothing is left of what was asked for, which does not mean the default.
        ([], false) => Chosen::default(),
        (names, _) => metrics(names, &space, spec.resolution, request.sources)?,
    };
    if let Some(costly) = metrics.iter().find(|metric| metric.is_costly()) {
        return Err(AnalysisError::NotRecorded {
            metric: costly.info().name.clone(),
        });
    }
    let subject = Subject {
        spec: &spec,
        space: &space,
        estimator: estimator.as_ref(),
        tables: &tables,
    };
    let allowed = request.allow_failures;
    let mut doubts: Vec<Warning> = Vec::new();
    doubts.extend(readout.check_failures(&space, allowed)?);
    for metric in &recorded {
        doubts.extend(subject.failures(metric, allowed)?);
    }
    let profile = profile(subject, &readout, &metrics, &recorded)?;
    let boxed = recorded.into_iter().map(|m| Box::new(m) as Box<dyn Metric>);
    metrics.extend(boxed);
    let tried = readout.networks.len() + readout.failures.len();
    let planned = request
        .budget
        .map_or(tried, |b| usize::try_from(b).unwrap_or(usize::MAX))
        .max(tried);
    let mut warnings = lost(store);
    warnings.extend(readout.warnings(planned));
    warnings.extend(doubts);
    warnings.extend(estimator_warning(estimator.as_ref()));
    warnings.extend(
        request
            .faster_engine
            .clone()
            .map(|engine| Warning::FasterEngine { engine }),
    );
    let describe = |reading: &Reading| {
        (
            space.print(&reading.draw.arch),
            values(&metrics, &reading.draw.arch),
        )
    };
    let measurement = readout.section(planned, &spec.statistic, &describe);
    Ok(Report {
        format: REPORT_FORMAT,
        title: format!(
            "Block profile of {} on {}",
            space.title(),
            device_name(&spec)
        ),
        generated_by: concat!("blocklens ", env!("CARGO_PKG_VERSION")).into(),
        command: request.command.clone(),
        profile,
        measurement,
        provenance: Provenance {
            blocklens: env!("CARGO_PKG_VERSION").into(),
            engine: Some(format!("{} {}", spec.engine, spec.engine_version)),
            seed: spec.seed,
            space_digest: spec.space_digest.clone(),
            store: Some(store.path().display().to_string()),
            campaign: Some(format!("{} (begun {})", campaign.id, campaign.created_at)),
            created: request.created.clone(),
            inputs,
        },
        warnings,
    })
}

/// What a stored campaign consists of.
struct Stored {
    spec: CampaignSpec,
    space: DesignSpace,
    estimator: Box<dyn Estimator>,
}

impl Stored {
    fn read(campaign: &StoredCampaign) -> Result<Self, AnalysisError> {
        let spec_error = |reason: String| AnalysisError::Spec {
            id: campaign.id,
            reason,
        };
        let spec =
            CampaignSpec::from_text(&campaign.spec).map_err(|e| spec_error(e.to_string()))?;
        let space = DesignSpace::read(&spec.space, &spec.space_source, Some(spec.width))?;
        let estimator = estimator(&spec.estimator)
            .ok_or_else(|| spec_error(format!("there is no estimator `{}`", spec.estimator)))?;
        Ok(Self {
            spec,
            space,
            estimator,
        })
    }

    fn observations(
        &self,
        store: &Store,
        campaign: &StoredCampaign,
    ) -> Result<Vec<Observation>, AnalysisError> {
        let estimator = self.estimator.as_ref();
        let readout = Readout::read(store, campaign.id, &self.spec, &self.space, estimator)?;
        Ok(readout.observations())
    }
}

/// How well the latency effects of a stored campaign's blocks are known: half the widest of their 95 % intervals,
/// relative to the mean latency. `None` while the measurements carry no estimate.
///
/// # Errors
/// [`AnalysisError`] when the store cannot be read.
pub fn precision(store: &Store, campaign: &StoredCampaign) -> Result<Option<f64>, AnalysisError> {
    let stored = Stored::read(campaign)?;
    let observations = stored.observations(store, campaign)?;
    let means = stored.estimator.estimate(&stored.space, &observations);
    let relative = |means: Means| {
        let overall = means.values[Layout::new(&stored.space).overall()];
        means.widest_block_interval(&stored.space) / overall
    };
    Ok(means.ok().map(relative))
}

/// The model of a stored campaign's latencies, as a metric for other networks of its space.
///
/// # Errors
/// [`AnalysisError`] when the store cannot be read or the measurements carry no estimate.
pub fn latency_model(
    store: &Store,
    campaign: &StoredCampaign,
) -> Result<BlockModel, AnalysisError> {
    let stored = Stored::read(campaign)?;
    let observations = stored.observations(store, campaign)?;
    let mut info = latency_info(&stored.spec);
    info.about = format!("{} On {}.", info.about, device_name(&stored.spec));
    let model = BlockModel::learn(&stored.space, &info, &observations);
    model.map_err(|reason| AnalysisError::Model { reason })
}

/// The names that are not of recorded metrics, and the recorded metrics that are asked for: all of the campaign where
/// nothing is asked for by name.
fn recorded(
    store: &Store,
    campaign: i64,
    space: &DesignSpace,
    names: &[String],
) -> Result<(Vec<String>, Vec<RecordedMetric>), AnalysisError> {
    let all = RecordedMetric::of_campaign(store, campaign, space)?;
    let called: Vec<(&String, String)> = names.iter().map(|n| (n, metrics::called_as(n))).collect();
    let is = |called: &str, metric: &RecordedMetric| metric.info().name == called;
    let mut others = Vec::new();
    for (name, called) in &called {
        if all.iter().any(|metric| is(called, metric)) {
            continue;
        }
        if metrics::is_program(name) {
            return Err(AnalysisError::NotRecorded {
                metric: (*name).clone(),
            });
        }
        others.push((*name).clone());
    }
    let asked = |m: &RecordedMetric| names.is_empty() || called.iter().any(|(_, c)| is(c, m));
    Ok((others, all.into_iter().filter(asked).collect()))
}

fn device_name(spec: &CampaignSpec) -> String {
    match kind(spec) {
        Kind::Simulated => return "a simulated device".into(),
        Kind::Estimated => return format!("{}, {} {}", spec.cpu, spec.engine, spec.engine_version),
        Kind::Measured => {}
    }
    let threads = if spec.threads == 1 {
        "1 thread".into()
    } else {
        format!("{} threads", spec.threads)
    };
    format!(
        "{}, {} {}, {threads}",
        spec.cpu, spec.engine, spec.engine_version
    )
}

fn kind(spec: &CampaignSpec) -> Kind {
    let named = || engine::by_name(&spec.engine).map_or(Kind::Measured, |engine| engine.kind());
    spec.kind.unwrap_or_else(named)
}

fn values(metrics: &[Box<dyn Metric>], arch: &Architecture) -> BTreeMap<String, f64> {
    metrics
        .iter()
        .filter_map(|m| Some((m.info().name.clone(), m.evaluate(arch).ok()?)))
        .collect()
}

fn latency_info(spec: &CampaignSpec) -> MetricInfo {
    let (origin, about) = match kind(spec) {
        Kind::Simulated => (
            Origin::Simulated,
            "Latency of a simulated device: a formula with noise, not a measurement.".to_owned(),
        ),
        Kind::Estimated => (
            Origin::Estimated,
            format!(
                "Latency of one image by the model of {}, not a measurement.",
                spec.engine
            ),
        ),
        Kind::Measured => (
            Origin::Measured,
            format!(
                "End-to-end latency of one image, measured with {}.",
                spec.engine
            ),
        ),
    };
    MetricInfo {
        name: "latency".into(),
        unit: "ms".into(),
        direction: Direction::LowerIsBetter,
        origin,
        about,
    }
}

/// What a campaign is about.
#[derive(Clone, Copy)]
struct Subject<'a> {
    spec: &'a CampaignSpec,
    space: &'a DesignSpace,
    estimator: &'a dyn Estimator,
    /// Tables that metrics are made from.
    tables: &'a [(String, Account)],
}

fn profile(
    subject: Subject<'_>,
    readout: &Readout,
    metrics: &[Box<dyn Metric>],
    recorded: &[RecordedMetric],
) -> Result<Profile, AnalysisError> {
    let Subject {
        spec,
        space,
        estimator,
        tables,
    } = subject;
    let unestimated = |metric: &str| {
        let metric = metric.to_owned();
        move |reason| AnalysisError::Estimate { metric, reason }
    };
    let latencies = readout.observations();
    let latency_means = estimator
        .estimate(space, &latencies)
        .map_err(unestimated("latency"))?;
    let friendliness = friendliness(space, spec.resolution, &latency_means);
    let latency = MetricProfile::from_means(
        space,
        latency_info(spec),
        estimator.name(),
        &latencies,
        readout.failures.len(),
        &latency_means,
    );
    // What is relative does not feel how well the level in ms is known, and ms do.
    let level = readout
        .scale
        .level
        .map_or(0.0, |level| level.relative_error);
    let latency = latency.with_uncertain_level(level);
    let mut estimated = vec![(latency, latency_means)];
    for metric in metrics {
        let (observations, failed, _) = computed_observations(spec, space, metric.as_ref())?;
        let means = Pooled
            .estimate(space, &observations)
            .map_err(unestimated(&metric.info().name))?;
        let failures = failed.len();
        let info = coverage::described(metric.info(), tables, spec.resolution);
        let profile =
            MetricProfile::from_means(space, info, Pooled.name(), &observations, failures, &means);
        estimated.push((profile, means));
    }
    for metric in recorded {
        estimated.push(subject.recorded(metric)?);
    }
    let mut profile = assemble(space, spec.resolution, spec.seed, estimated, friendliness);
    for friendly in &mut profile.friendliness {
        friendly.excess_ms = friendly.excess_ms.with_uncertain_level(level);
    }
    let in_ms = |finding: &&mut Finding| finding.metric == "latency" && finding.unit == "ms";
    for finding in profile.findings.iter_mut().filter(in_ms) {
        finding.evidence = finding.evidence.with_uncertain_level(level);
    }
    Ok(profile)
}

impl Subject<'_> {
    /// Doubts about a metric of which some architectures have no value.
    fn failures(
        self,
        metric: &RecordedMetric,
        allowed: bool,
    ) -> Result<Vec<Warning>, AnalysisError> {
        let draws = plan_draws(self.estimator, self.spec, self.space, metric.planned)?;
        let (observations, failed) = metric.observe(draws.into_iter());
        let example = failed.first().map(|draw| metric.evaluate(&draw.arch));
        let example = example.and_then(Result::err);
        let name = &metric.info().name;
        missing_values(self.space, name, &observations, &failed, example, allowed)
    }

    /// The profile of a metric that was evaluated along the campaign's plan.
    fn recorded(self, metric: &RecordedMetric) -> Result<(MetricProfile, Means), AnalysisError> {
        let draws = plan_draws(self.estimator, self.spec, self.space, metric.planned)?;
        let (observations, failed) = metric.observe(draws.into_iter());
        let failures = failed.len();
        let means = self.estimator.estimate(self.space, &observations);
        let means = means.map_err(|reason| AnalysisError::Estimate {
            metric: metric.info().name.clone(),
            reason,
        })?;
        let (info, name) = (metric.info().clone(), self.estimator.name());
        let profile =
            MetricProfile::from_means(self.space, info, name, &observations, failures, &means);
        Ok((profile, means))
    }
}

/// Doubts about a metric that has no value for some of the architectures that were to have one.
///
/// # Errors
/// [`AnalysisError::Failures`] where a profile of the rest would not be about the space.
pub(crate) fn missing_values(
    space: &DesignSpace,
    metric: &str,
    observations: &[Observation],
    failed: &[Draw],
    example: Option<MetricError>,
    allowed: bool,
) -> Result<Vec<Warning>, AnalysisError> {
    if failed.is_empty() {
        return Ok(Vec::new());
    }
    let failures = Failures {
        metric,
        space,
        failed: failed.iter().map(|draw| &draw.arch).collect(),
        worked: observations.iter().map(|o| &o.draw.arch).collect(),
        example: example.map_or_else(String::new, |error| error.to_string()),
    };
    let told = Warning::NoValue {
        metric: metric.to_owned(),
        failed: failed.len(),
        of: failed.len() + observations.len(),
    };
    let doubt = failures.check(allowed)?;
    // One sentence is enough: the doubt says how many, too.
    Ok(vec![doubt.unwrap_or(told)])
}

/// What was recorded and is not there any more.
/// What a store lost, as a doubt.
#[must_use]
pub fn lost(store: &Store) -> Vec<Warning> {
    let rows = store.lost();
    (rows > 0)
        .then_some(Warning::Lost { rows })
        .into_iter()
        .collect()
}

/// The metrics that the profile of a campaign was asked for and that there still are, and a sentence for each other
/// one.
///
/// # Errors
/// [`AnalysisError`] when the campaign cannot be read.
pub fn asked_for(
    store: &Store,
    campaign: &StoredCampaign,
    sources: &Sources,
) -> Result<(Vec<String>, Vec<String>), AnalysisError> {
    let asked = store.metrics_asked_for(campaign.id)?.unwrap_or_default();
    let Stored { spec, space, .. } = Stored::read(campaign)?;
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let usable = |name: &String| -> Result<(), AnalysisError> {
        let (others, _) = recorded(store, campaign.id, &space, std::slice::from_ref(name))?;
        // Of no name, the default ones would be meant.
        if others.is_empty() {
            return Ok(());
        }
        let chosen = metrics(&others, &space, spec.resolution, sources)?;
        match chosen.metrics.iter().find(|metric| metric.is_costly()) {
            None => Ok(()),
            Some(costly) => Err(AnalysisError::NotRecorded {
                metric: costly.info().name.clone(),
            }),
        }
    };
    for name in asked {
        match usable(&name) {
            Ok(()) => kept.push(name),
            Err(error) => left_out.push(format!("{name} is left out: {error}")),
        }
    }
    if kept.is_empty() && !left_out.is_empty() {
        kept.push("latency".into());
    }
    Ok((kept, left_out))
}

/// The first `count` draws of a campaign's plan.
///
/// # Errors
/// [`CampaignError::Plan`] when the space does not have the resolution.
pub fn plan_draws(
    estimator: &dyn Estimator,
    spec: &CampaignSpec,
    space: &DesignSpace,
    count: u64,
) -> Result<Vec<Draw>, CampaignError> {
    let draw = |index| estimator.draw(space, spec.resolution, Seed(spec.seed), index);
    let draws = (0..count).map(draw).collect::<Result<Vec<_>, _>>();
    Ok(draws?)
}

/// The profile of metrics whose means are known.
pub(crate) fn assemble(
    space: &DesignSpace,
    resolution: u32,
    seed: u64,
    estimated: Vec<(MetricProfile, Means)>,
    friendliness: Vec<Friendliness>,
) -> Profile {
    let known: Vec<_> = estimated.iter().map(|(p, m)| (&p.metric, m)).collect();
    let findings = findings(space, &known, &friendliness);
    Profile {
        format: 1,
        space: space.name().into(),
        width: space.width(),
        space_digest: space.digest().into(),
        resolution,
        seed,
        metrics: estimated.into_iter().map(|(p, _)| p).collect(),
        friendliness,
        findings,
    }
}

/// What a metric that needs no device comes to on the networks that it is evaluated on.
fn computed_observations(
    spec: &CampaignSpec,
    space: &DesignSpace,
    metric: &dyn Metric,
) -> Result<Observed, AnalysisError> {
    let draws = match metric.listed() {
        Some(listed) => listed_draws(listed, spec.resolution),
        None => {
            let seed = Seed(spec.seed).stream("computed");
            let draw = |index| Pooled.draw(space, spec.resolution, seed, index);
            let draws = (0..COMPUTED_EVALUATIONS).map(draw);
            draws
                .collect::<Result<_, _>>()
                .map_err(CampaignError::from)?
        }
    };
    let archs: Vec<Architecture> = draws.iter().map(|draw| draw.arch.clone()).collect();
    Ok(observations(&draws, metric.evaluate_many(&archs))?)
}

/// The values that there are, the architectures without one, and the first reason why.
pub(crate) type Observed = (Vec<Observation>, Vec<Draw>, Option<MetricError>);

/// What became of the architectures that were to have a value.
///
/// # Errors
/// [`MetricError::NotApplicable`]: what is estimated without such architectures would be about another space.
pub(crate) fn observations(draws: &[Draw], values: Vec<Value>) -> Result<Observed, MetricError> {
    let mut observations = Vec::with_capacity(values.len());
    let (mut failed, mut example) = (Vec::new(), None);
    for (draw, value) in draws.iter().zip(values) {
        match value {
            Ok(value) => observations.push(Observation {
                draw: draw.clone(),
                value,
            }),
            Err(error @ MetricError::NotApplicable { .. }) => return Err(error),
            Err(error) => {
                failed.push(draw.clone());
                example.get_or_insert(error);
            }
        }
    }
    Ok((observations, failed, example))
}

/// What is doubtful about an estimator.
pub(crate) fn estimator_warning(estimator: &dyn Estimator) -> Option<Warning> {
    (estimator.name() == Legacy.name()).then_some(Warning::Legacy)
}

/// The architectures that a metric has values for, as far as they are of the resolution.
pub(crate) fn listed_draws(listed: Vec<Architecture>, resolution: u32) -> Vec<Draw> {
    let here = listed.into_iter().filter(|a| a.resolution() == resolution);
    let draw = |arch| Draw {
        arch,
        stratum: None,
    };
    here.map(draw).collect()
}
