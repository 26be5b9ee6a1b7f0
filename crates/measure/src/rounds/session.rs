//! One session of a round as plain data: a network on an engine, timed alone or in turn with another.

use std::path::PathBuf;
use std::time::Instant;

use blocklens_core::measurement::{Failure, Phases, Sample, Summary, Warning};
use blocklens_core::model::{InputSpec, ModelFormat};
use blocklens_core::network::{Network, Weights};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use serde::{Deserialize, Serialize};

use crate::engine::{self, Artefact, Engine, EngineOptions, ModelFile, host};
use crate::files;
use crate::job::SpaceText;
use crate::protocol::{Protocol, Turns, time_session};
use crate::runner::WorkerProcess;

/// Largest file of a network: what a protocol buffer can hold.
pub const LARGEST_MODEL: u64 = 2 << 30;
/// Most numbers of an output that are handed on to be compared.
const COMPARED: usize = 1 << 16;

/// A network, wherever it comes from, as it travels to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An architecture of a space.
    Architecture {
        /// The space.
        space: SpaceText,
        /// The architecture's text.
        arch: String,
    },
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its SHA-256: a file that changes is none any more.
        sha256: String,
        /// Its format.
        format: ModelFormat,
        /// The inputs that it is run on.
        inputs: Vec<InputSpec>,
    },
}

/// A network on an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seat {
    /// The network.
    pub source: Source,
    /// The engine, as written on the command line.
    pub engine: String,
    /// The seed of this session: the noise of simulated engines.
    pub seed: Seed,
}

/// An order to time one network in a fresh session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionJob {
    /// What is timed.
    pub subject: Seat,
    /// What it takes turns with, inference by inference.
    pub partner: Option<Seat>,
    /// Whether the partner is made ready first: who comes first has another place in memory for as long as the process
    /// lives.
    pub partner_first: bool,
    /// Threads that engines compute with.
    pub threads: usize,
    /// Seed of inputs, and of the weights of architectures: the same in all sessions.
    pub seed: Seed,
    /// Sessions before this one: simulated drift follows it.
    pub position: u64,
    /// Warm-up and sampling.
    pub protocol: Protocol,
}

/// What a session gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Raw samples.
    pub samples: Vec<Sample>,
    /// The partner's: one before each sample and one after the last; empty without one.
    pub reference: Vec<Sample>,
    /// The samples' summary.
    pub summary: Summary,
    /// Times before the steady state.
    pub phases: Phases,
    /// Doubts.
    pub warnings: Vec<Warning>,
    /// The beginning of the first output, of a session without a partner; empty where none is computed.
    pub output: Vec<f32>,
}

/// Which of two networks failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The one that is timed.
    Subject,
    /// The one that it takes turns with.
    Partner,
    /// One of the two, in their turns.
    Either,
}

/// The failure that a session ended with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    /// Whose it is.
    pub whose: Whose,
    /// What happened.
    pub failure: Failure,
}

/// How a session ends: with times, with a failure that is told, or with a process that ended without a word.
pub type Ended = Result<Result<Taken, Broken>, Failure>;

/// Someone who carries out sessions.
pub trait Sessions {
    /// Carries out one; `None` when it was interrupted.
    fn carry_out(&self, job: &SessionJob) -> Option<Ended>;
}

impl Sessions for WorkerProcess {
    fn carry_out(&self, job: &SessionJob) -> Option<Ended> {
        self.carry(job)
    }
}

impl Sessions for crate::runner::InProcess {
    fn carry_out(&self, job: &SessionJob) -> Option<Ended> {
        Some(Ok(job.run()))
    }
}

/// A network that was built or read.
enum Built {
    Network(Network, Weights),
    File(ModelFile),
}

impl Source {
    fn build(&self, seed: Seed) -> Result<Built, Failure> {
        match self {
            Self::Architecture { space, arch } => {
                let space = DesignSpace::read(&space.name, &space.source, Some(space.width))
                    .map_err(|e| refused(e.to_string()))?;
                let arch = space.parse(arch).map_err(|e| refused(e.to_string()))?;
                let network = space.network(&arch);
                let weights = Weights::random(&network, seed);
                Ok(Built::Network(network, weights))
            }
            Self::File {
                path,
                sha256,
                format,
                inputs,
            } => {
                let told = |what: String| refused(format!("{}: {what}", path.display()));
                let bytes = files::read(path, LARGEST_MODEL).map_err(|e| told(e.to_string()))?;
                if files::sha256(&bytes) != *sha256 {
                    return Err(told("the file changed while it was measured".into()));
                }
                Ok(Built::File(ModelFile {
                    format: *format,
                    bytes,
                    inputs: inputs.clone(),
                }))
            }
        }
    }
}

impl Built {
    fn artefact(&self) -> Artefact<'_> {
        match self {
            Self::Network(network, weights) => Artefact::Network { network, weights },
            Self::File(file) => Artefact::File(file),
        }
    }
}

/// A seat whose network is ready to run.
struct Ready {
    session: Box<dyn engine::Session>,
    build_ms: f64,
    prepare_ms: f64,
}

impl SessionJob {
    /// Carries the order out in this process.
    ///
    /// # Errors
    /// [`Broken`]; a crash or a hang of an engine is one of this process.
    pub fn run(&self) -> Result<Taken, Broken> {
        let own = |failure: Failure| Broken {
            whose: Whose::Subject,
            failure,
        };
        let in_turns = |failure: Failure| Broken {
            whose: match self.partner {
                Some(_) => Whose::Either,
                None => Whose::Subject,
            },
            failure,
        };
        let engine = named(&self.subject.engine).map_err(own)?;
        let other = match self
            .partner
            .as_ref()
            .filter(|p| p.engine != self.subject.engine)
        {
            Some(partner) => Some(named(&partner.engine).map_err(|failure| Broken {
                whose: Whose::Partner,
                failure,
            })?),
            None => None,
        };
        let pinned = match engine.is_simulated() {
            true => Ok(Vec::new()),
            false => host::pin(self.threads),
        };
        let (mut subject, mut partner) = self.seated(engine.as_ref(), other.as_deref())?;
        let turns = Turns {
            session: subject.session.as_mut(),
            reference: match &mut partner {
                Some(partner) => Some(partner.session.as_mut()),
                None => None,
            },
        };
        let timed = time_session(turns, &self.protocol, self.threads == 1).map_err(in_turns)?;
        let mut warnings = timed.warnings;
        warnings.extend(pinned.err().map(|e| Warning::NotPinned {
            reason: e.to_string(),
        }));
        let output = match partner {
            Some(_) => &[],
            None => subject.session.output(),
        };
        Ok(Taken {
            samples: timed.samples,
            reference: timed.reference,
            summary: timed.summary,
            phases: Phases {
                build_ms: subject.build_ms,
                prepare_ms: subject.prepare_ms,
                first_ms: timed.first_ms,
                warm_up_ms: timed.warm_up.total_ms,
                warm_up_runs: timed.warm_up.runs,
                reference_ms: timed.warm_up.reference_ms,
            },
            warnings,
            output: output[..output.len().min(COMPARED)].to_vec(),
        })
    }

    /// Both seats, made ready in the order asked for.
    fn seated(
        &self,
        engine: &dyn Engine,
        other: Option<&dyn Engine>,
    ) -> Result<(Ready, Option<Ready>), Broken> {
        let subject = || self.ready(&self.subject, engine, Whose::Subject);
        let partner = || {
            let partner = self.partner.as_ref();
            partner
                .map(|seat| self.ready(seat, other.unwrap_or(engine), Whose::Partner))
                .transpose()
        };
        if self.partner_first {
            let partner = partner()?;
            return Ok((subject()?, partner));
        }
        Ok((subject()?, partner()?))
    }

    fn ready(&self, seat: &Seat, engine: &dyn Engine, whose: Whose) -> Result<Ready, Broken> {
        let broken = |failure: Failure| Broken { whose, failure };
        let built = Instant::now();
        let network = seat.source.build(self.seed).map_err(broken)?;
        let build_ms = built.elapsed().as_secs_f64() * 1e3;
        // What is simulated has the noise of its session; what is real has the same input in all.
        let seed = match engine.is_simulated() {
            true => seat.seed,
            false => self.seed,
        };
        let options = EngineOptions {
            threads: self.threads,
            seed,
            position: self.position,
            attempt: 0,
        };
        let prepared = Instant::now();
        let session = engine.prepare(&network.artefact(), &options);
        let session = session.map_err(|e| broken(e.into()))?;
        Ok(Ready {
            session,
            build_ms,
            prepare_ms: prepared.elapsed().as_secs_f64() * 1e3,
        })
    }
}

fn named(engine: &str) -> Result<Box<dyn Engine>, Failure> {
    engine::by_name(engine).map_err(|e| refused(e.to_string()))
}

fn refused(message: String) -> Failure {
    Failure::Engine { message }
}
