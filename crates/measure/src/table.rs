//! Block-wise latency tables of a device: every distinct layer of a space timed by itself, and, to show how far sums of
//! layers are from whole networks, some of these timed end to end in the same campaign.

use std::collections::BTreeMap;

use blocklens_core::measurement::{DeviceDescription, Failure, Measurement, Warning};
use blocklens_core::metric::{Metric, MetricError};
use blocklens_core::profile::{Estimator as _, Pooled};
use blocklens_core::seed::Seed;
use blocklens_core::space::{ArchitectureError, DesignSpace};
use blocklens_core::stats::agreement::Agreement;
use blocklens_core::stats::{mean, variance};
use blocklens_core::surrogate::{LookupLatency, LookupTable, TimedLayer, all_entries};
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

use crate::campaign::{CampaignError, CampaignSpec, Planned, SENTINEL_PERIOD, Schedule, sentinel};
use crate::job::{Job, SpaceText};
use crate::readout::Scale;
use crate::store::Store;

/// Everything that decides what is measured for a table, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// How often every layer is measured, each time in a fresh session.
    pub rounds: u64,
    /// Space, resolution, engine and the rest; its estimator is the one that draws the networks of the check.
    pub campaign: CampaignSpec,
}

impl TableSpec {
    /// The text that is stored.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What is measured, in which order: all layers, shuffled anew in every round, then networks of the pooled plan. The
/// sentinel comes first and then every sixth time.
pub struct TablePlan<'a> {
    space: &'a DesignSpace,
    spec: &'a TableSpec,
    sentinel: String,
    keys: Vec<String>,
}

impl<'a> TablePlan<'a> {
    /// The plan of a table.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn new(space: &'a DesignSpace, spec: &'a TableSpec) -> Result<Self, ArchitectureError> {
        let resolution = spec.campaign.resolution;
        let entries = all_entries(space, resolution)?;
        Ok(Self {
            space,
            spec,
            sentinel: space.print(&sentinel(space, &spec.campaign)?),
            keys: entries.into_iter().map(|entry| entry.key).collect(),
        })
    }

    /// The keys of all layers.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Measurements of layers, without sentinels.
    #[must_use]
    pub fn layers(&self) -> u64 {
        self.spec.rounds * self.keys.len() as u64
    }

    /// Steps of the schedule that measure all layers and then `networks` whole networks.
    #[must_use]
    pub fn steps(&self, networks: u64) -> u64 {
        crate::campaign::Campaign::steps(self.layers() + networks)
    }

    /// The key of the layer that is measured as number `index`.
    fn layer(&self, index: u64) -> &str {
        let (round, place) = (
            index / self.keys.len() as u64,
            index % self.keys.len() as u64,
        );
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        let seed = Seed(self.spec.campaign.seed).stream("table");
        order.shuffle(&mut seed.index(round).rng());
        &self.keys[order[usize::try_from(place).unwrap_or_default()]]
    }
}

impl Schedule for TablePlan<'_> {
    fn job(&self, position: u64, attempt: u32) -> Result<Planned, CampaignError> {
        let spec = &self.spec.campaign;
        let seed = Seed(spec.seed);
        let mut job = Job {
            space: SpaceText::of(self.space),
            arch: self.sentinel.clone(),
            layer: None,
            engine: spec.engine.clone(),
            threads: spec.threads,
            weights_seed: seed,
            session_seed: seed.stream("session").index(position),
            position,
            attempt,
            protocol: spec.protocol,
            memory_limit_mib: spec.memory_limit_mib,
        };
        let mut plan_index = None;
        if !position.is_multiple_of(SENTINEL_PERIOD) {
            let index = position - position / SENTINEL_PERIOD - 1;
            plan_index = Some(index);
            match index.checked_sub(self.layers()) {
                None => job.layer = Some(self.layer(index).to_owned()),
                Some(index) => {
                    let draw = Pooled.draw(self.space, spec.resolution, seed, index)?;
                    job.arch = self.space.print(&draw.arch);
                }
            }
        }
        Ok(Planned {
            plan_index,
            label: job.layer.clone().unwrap_or_else(|| job.arch.clone()),
            exchangeable: false,
            job,
        })
    }
}

/// A whole network beside the sum of its layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The architecture.
    pub arch: String,
    /// Its latency end to end, corrected for drift, in ms.
    pub end_to_end_ms: f64,
    /// The sum of its layers in the table, in ms.
    pub sum_ms: f64,
}

/// How sums of layers compare with whole networks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Sums as predictions of end-to-end latencies.
    pub agreement: Option<Agreement>,
    /// The networks.
    pub networks: Vec<Compared>,
}

/// What a table's campaign measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Latencies by key, corrected for drift.
    pub layers: BTreeMap<String, TimedLayer>,
    /// Layers and networks that failed, each with its last failure.
    pub failures: BTreeMap<String, Failure>,
    /// Layers that were not reached.
    pub missing: usize,
    /// The sentinel's spread, relative.
    pub noise_floor: Option<f64>,
    /// Largest correction for drift, relative.
    pub largest_correction: f64,
    /// Doubts about the campaign as a whole.
    pub doubts: Vec<Warning>,
    /// What measured.
    pub device: Option<DeviceDescription>,
    /// Networks: architecture and corrected latency in ms.
    networks: Vec<(String, f64)>,
}

impl Measured {
    /// Reads what is recorded for a plan.
    ///
    /// # Errors
    /// [`CampaignError`] when the store cannot be read.
    pub fn read(store: &Store, campaign: i64, plan: &TablePlan<'_>) -> Result<Self, CampaignError> {
        let records = store.records(campaign)?;
        let scale = Scale::of(&records, plan.spec.campaign.threads == 1);
        let positions = records.iter().map(|record| record.position);
        let largest_correction = scale.largest_drift(positions);
        let mut sessions: BTreeMap<String, Vec<(f64, &Measurement)>> = BTreeMap::new();
        let (mut failures, mut networks) = (BTreeMap::new(), Vec::new());
        for record in &records {
            let Some(index) = record.plan_index else {
                continue;
            };
            match &record.outcome {
                Err(failure) => {
                    failures.insert(record.arch.clone(), failure.clone());
                }
                Ok(m) if index < plan.layers() => {
                    let session = (scale.corrected_ms(record.position, m), m);
                    sessions
                        .entry(record.arch.clone())
                        .or_default()
                        .push(session);
                }
                Ok(m) => {
                    let corrected = scale.corrected_ms(record.position, m);
                    networks.push((record.arch.clone(), corrected));
                }
            }
        }
        // One good session is an entry, whatever happened in another.
        failures.retain(|key, _| !sessions.contains_key(key));
        let reached = |key: &&String| sessions.contains_key(*key) || failures.contains_key(*key);
        let reached = plan.keys.iter().filter(reached).count();
        let missing = plan.keys.len() - reached;
        let layers = sessions.into_iter();
        let mut doubts = crate::analysis::lost(store);
        doubts.extend(scale.level.and_then(|level| level.doubt()));
        Ok(Self {
            doubts,
            layers: layers
                .map(|(key, sessions)| (key, timed(&sessions)))
                .collect(),
            failures,
            missing,
            noise_floor: scale.drift.noise_floor(),
            largest_correction,
            device: store
                .runs(campaign)?
                .into_iter()
                .last()
                .map(|(device, _)| device),
            networks,
        })
    }

    /// Sums of layers beside the networks that were measured end to end.
    ///
    /// # Errors
    /// [`MetricError`] when the table lacks a layer.
    pub fn check(&self, space: &DesignSpace) -> Result<Check, MetricError> {
        let refused = |reason: String| MetricError::NotApplicable {
            metric: "latency".into(),
            reason,
        };
        let means = self
            .layers
            .iter()
            .map(|(key, layer)| (key.clone(), layer.mean));
        let table = LookupTable::new("the table", means).map_err(|e| refused(e.to_string()))?;
        let metric = LookupLatency::new("latency", space, &[table])?;
        let mut networks = Vec::with_capacity(self.networks.len());
        for (arch, end_to_end_ms) in &self.networks {
            let parsed = space.parse(arch).map_err(|e| refused(e.to_string()))?;
            networks.push(Compared {
                arch: arch.clone(),
                end_to_end_ms: *end_to_end_ms,
                sum_ms: metric.evaluate(&parsed)?,
            });
        }
        let pairs: Vec<(f64, f64)> = networks
            .iter()
            .map(|n| (n.sum_ms, n.end_to_end_ms))
            .collect();
        Ok(Check {
            agreement: Agreement::of(&pairs),
            networks,
        })
    }
}

/// The mean of the sessions' corrected latencies, and the spread of all samples, corrected like their session.
fn timed(sessions: &[(f64, &Measurement)]) -> TimedLayer {
    let latencies: Vec<f64> = sessions.iter().map(|(corrected, _)| *corrected).collect();
    let samples = sessions.iter().flat_map(|(corrected, m)| {
        let factor = m.summary.latency.get() / corrected;
        let walls = m.samples.iter().map(|sample| sample.wall.get());
        walls.map(move |ms| ms / factor)
    });
    let samples: Vec<f64> = samples.collect();
    TimedLayer {
        count: samples.len(),
        mean: mean(&latencies),
        std: variance(&samples).sqrt(),
    }
}
