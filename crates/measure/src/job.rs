//! One measurement as a self-contained order: what to build, on which engine, how to time it.
//!
//! A [`Job`] is plain data, so that it can be carried out in this process or sent to a worker.

use std::time::Instant;

use blocklens_core::measurement::{Failure, Measurement, Phases, Warning};
use blocklens_core::network::{Network, Weights};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace, SpaceSource};
use blocklens_core::surrogate::all_entries;
use serde::{Deserialize, Serialize};

use crate::engine::{self, Artefact, Engine, EngineOptions, Session, host};
use crate::protocol::{Protocol, Turns, time_session};

/// What a measurement ends with: numbers, or a typed failure.
pub type Outcome = Result<Measurement, Failure>;

/// An order to measure one network in a fresh session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The design space's file and width.
    pub space: SpaceText,
    /// The architecture in its text form.
    pub arch: String,
    /// The key of a layer of the space that is measured by itself, in place of the whole network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The engine, as written on the command line.
    pub engine: String,
    /// Threads that the engine may compute with.
    pub threads: usize,
    /// Seed of the weights: the same for all networks of a campaign.
    pub weights_seed: Seed,
    /// Seed of this session (its input, and the noise of simulated engines).
    pub session_seed: Seed,
    /// Position of this measurement in the campaign.
    pub position: u64,
    /// How often this position was tried before.
    pub attempt: u32,
    /// Warm-up and sampling.
    pub protocol: Protocol,
    /// Most memory that the measuring process may map, in MiB.
    pub memory_limit_mib: Option<u64>,
}

/// A design space as text, as it travels to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpaceText {
    /// Name for errors.
    pub name: String,
    /// The file.
    pub source: SpaceSource,
    /// The width multiplier.
    pub width: f64,
}

impl SpaceText {
    /// The text of `space`.
    #[must_use]
    pub fn of(space: &DesignSpace) -> Self {
        Self {
            name: space.name().into(),
            source: space.source().clone(),
            width: space.width(),
        }
    }
}

impl Job {
    /// Carries the order out in this process.
    ///
    /// # Errors
    /// A typed [`Failure`]; a crash or a hang of the engine is one of this process.
    pub fn run(&self) -> Outcome {
        let engine = engine::by_name(&self.engine).map_err(|e| Failure::Engine {
            message: e.to_string(),
        })?;
        let built = Instant::now();
        let (space, arch) = self.parsed()?;
        let network = self.network(&space, &arch)?;
        let weights = Weights::random(&network, self.weights_seed);
        let build_ms = elapsed_ms(built);
        let options = EngineOptions {
            threads: self.threads,
            seed: self.session_seed,
            position: self.position,
            attempt: self.attempt,
        };
        let pinned = if engine.is_simulated() {
            Ok(Vec::new())
        } else {
            host::pin(self.threads)
        };
        let prepared = Instant::now();
        let model = Artefact::Network {
            network: &network,
            weights: &weights,
        };
        let mut session = engine.prepare(&model, &options)?;
        let prepare_ms = elapsed_ms(prepared);
        let prepared = Instant::now();
        let mut reference = self.reference(&space, arch.resolution(), engine.as_ref(), &options)?;
        let reference_ms = elapsed_ms(prepared);
        let turns = Turns {
            session: session.as_mut(),
            reference: match &mut reference {
                Some(reference) => Some(reference.as_mut()),
                None => None,
            },
        };
        let timed = time_session(turns, &self.protocol, self.threads == 1)?;
        let mut warnings = timed.warnings;
        let not_pinned = match engine.machine() {
            Some(_) => session.not_pinned().map(str::to_owned),
            None => pinned.err().map(|e| e.to_string()),
        };
        warnings.extend(not_pinned.map(|reason| Warning::NotPinned { reason }));
        Ok(Measurement {
            samples: timed.samples,
            reference: timed.reference,
            summary: timed.summary,
            phases: Phases {
                build_ms,
                prepare_ms,
                first_ms: timed.first_ms,
                warm_up_ms: timed.warm_up.total_ms,
                warm_up_runs: timed.warm_up.runs,
                reference_ms: reference_ms + timed.warm_up.reference_ms,
            },
            warnings,
            model_hash: model_hash(&network, &weights),
        })
    }

    /// The smallest network of the space at the resolution, where inferences take turns: the same for all networks of a
    /// campaign.
    fn reference(
        &self,
        space: &DesignSpace,
        resolution: u32,
        engine: &dyn Engine,
        options: &EngineOptions,
    ) -> Result<Option<Box<dyn Session>>, Failure> {
        if !self.protocol.paired {
            return Ok(None);
        }
        let smallest = space.smallest(resolution);
        let network = space.network(&smallest.map_err(|e| refused(e.to_string()))?);
        let weights = Weights::random(&network, self.weights_seed);
        let model = Artefact::Network {
            network: &network,
            weights: &weights,
        };
        let options = EngineOptions {
            seed: self.session_seed.stream("reference"),
            ..*options
        };
        let session = engine.prepare(&model, &options);
        session
            .map(Some)
            .map_err(|e| refused(format!("the reference network: {e}")))
    }

    fn parsed(&self) -> Result<(DesignSpace, Architecture), Failure> {
        let space = DesignSpace::read(&self.space.name, &self.space.source, Some(self.space.width))
            .map_err(|e| refused(e.to_string()))?;
        let arch = space.parse(&self.arch);
        let arch = arch.map_err(|e| refused(e.to_string()))?;
        Ok((space, arch))
    }

    fn network(&self, space: &DesignSpace, arch: &Architecture) -> Result<Network, Failure> {
        let Some(key) = &self.layer else {
            return Ok(space.network(arch));
        };
        let entries = all_entries(space, arch.resolution());
        let entries = entries.map_err(|e| refused(e.to_string()))?;
        let entry = entries.iter().find(|entry| entry.key == *key);
        let entry = entry.ok_or_else(|| refused(format!("the space has no layer `{key}`")))?;
        Ok(entry.network())
    }
}

fn refused(message: String) -> Failure {
    Failure::Engine { message }
}

fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The hash that a measurement of this architecture has, in a campaign with this seed of weights.
pub(crate) fn hash_of(space: &DesignSpace, arch: &Architecture, weights_seed: Seed) -> String {
    let network = space.network(arch);
    let weights = Weights::random(&network, weights_seed);
    model_hash(&network, &weights)
}

/// A hash of the graph and its weights (FNV-1a over a canonical byte stream, 64 bits).
fn model_hash(network: &Network, weights: &Weights) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |word: u64| hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    for (i, node) in network.nodes().iter().enumerate() {
        format!("{:?}", (&node.name, &node.op, &node.inputs, node.output))
            .bytes()
            .for_each(|b| take(u64::from(b)));
        if let Some(w) = weights.of(i) {
            w.weight
                .iter()
                .chain(&w.bias)
                .for_each(|x| take(u64::from(x.to_bits())));
        }
    }
    format!("{hash:016x}")
}
