//! Whether an engine does what every engine must: for people who write a device of their own.

use std::time::Duration;

use blocklens_core::network::{Network, Weights};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;

use super::{
    Artefact, Availability, Engine, EngineError, EngineOptions, Kind, Session, all_finite,
    computing, input,
};

/// How far outputs may be from the reference's, relative to the largest: on random weights engines that are right
/// differ by up to two thousandths.
const TOLERANCE: f32 = 5e-3;
/// Inferences that are timed to see how far times spread.
const RUNS: usize = 12;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What must be.
    pub what: &'static str,
    /// What was found, or what is wrong.
    pub found: Result<String, String>,
}

/// Looks at everything that can be looked at: a check that needs what an earlier one did not get is left out.
#[must_use]
pub fn check(engine: &dyn Engine) -> Vec<Check> {
    let mut checks = Checks {
        engine,
        done: Vec::new(),
    };
    checks.run();
    checks.done
}

struct Checks<'a> {
    engine: &'a dyn Engine,
    done: Vec<Check>,
}

/// A network with its weights.
struct Built(Network, Weights);

impl Built {
    /// The smallest or largest network of OFA-MobileNetV3 at 128 pixels.
    fn new(largest: bool) -> Result<Self, String> {
        let space = DesignSpace::builtin("ofa-mbv3", Some(1.0)).map_err(|e| e.to_string())?;
        let arch = match largest {
            true => space.largest(128),
            false => space.smallest(128),
        };
        let network = space.network(&arch.map_err(|e| e.to_string())?);
        let weights = Weights::random(&network, Seed(1));
        Ok(Self(network, weights))
    }

    fn prepare(&self, engine: &dyn Engine, seed: Seed) -> Result<Box<dyn Session>, EngineError> {
        let model = Artefact::Network {
            network: &self.0,
            weights: &self.1,
        };
        engine.prepare(&model, &EngineOptions::new(seed))
    }
}

impl Checks<'_> {
    fn add(&mut self, what: &'static str, found: Result<String, String>) -> bool {
        let holds = found.is_ok();
        self.done.push(Check { what, found });
        holds
    }

    fn run(&mut self) {
        let found = match self.engine.availability() {
            Availability::Available { version, detail } => Ok(format!("{version}, {detail}")),
            Availability::Unavailable { reason, remedy } => Err(format!("{reason}; {remedy}")),
        };
        if !self.add("says who it is", found) {
            return;
        }
        let (small, large) = match (Built::new(false), Built::new(true)) {
            (Ok(small), Ok(large)) => (small, large),
            (Err(reason), _) | (_, Err(reason)) => {
                self.add("is given a network", Err(reason));
                return;
            }
        };
        let prepared = small.prepare(self.engine, Seed(1));
        let found = prepared
            .as_ref()
            .map(|_| "the smallest of ofa-mbv3 at 128 px".into());
        if !self.add("makes a network ready", found.map_err(ToString::to_string)) {
            return;
        }
        let Ok(mut session) = prepared else { return };
        let times = self.times(session.as_mut());
        if self.engine.kind() == Kind::Measured {
            self.outputs(&small, session.as_mut());
        }
        if let Some(times) = times {
            self.side_by_side(&large, session.as_mut(), &times);
        }
    }

    /// Times of the same network, one after the other, in ms.
    fn times(&mut self, session: &mut dyn Session) -> Option<Vec<f64>> {
        let timings: Result<Vec<_>, EngineError> = (0..RUNS).map(|_| session.run()).collect();
        let timings = match timings {
            Ok(timings) if timings.iter().all(|t| t.wall > Duration::ZERO) => timings,
            Ok(_) => {
                self.add("times inferences", Err("a time of 0".into()));
                return None;
            }
            Err(error) => {
                self.add("times inferences", Err(error.to_string()));
                return None;
            }
        };
        let times: Vec<f64> = timings.iter().map(|t| t.wall.as_secs_f64() * 1e3).collect();
        let cpu = match timings.iter().all(|t| t.cpu.is_some()) {
            true => "CPU time known",
            false => "CPU time not known: disturbed inferences cannot be told",
        };
        let (low, high) = (least(&times), times.iter().copied().fold(0.0, f64::max));
        let found = format!("{RUNS} of {low:.3} to {high:.3} ms; {cpu}");
        self.add("times inferences", Ok(found));
        Some(times)
    }

    fn outputs(&mut self, model: &Built, session: &mut dyn Session) {
        let given = input(&model.0, Seed(7));
        let outputs = session.infer(&given).map_err(|e| e.to_string());
        let outputs = outputs.and_then(|outputs| match all_finite(&outputs) {
            true => Ok(outputs),
            false => Err("some are not finite".into()),
        });
        let again = session.infer(&given).map_err(|e| e.to_string());
        let found = match (&outputs, &again) {
            (Ok(first), Ok(second)) if first == second => {
                Ok(format!("{} numbers, the same again", first.len()))
            }
            (Ok(_), Ok(_)) => Err("they are others for the same input".into()),
            (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
        };
        if self.add("computes outputs", found) && self.engine.precision() == "fp32" {
            let outputs = outputs.unwrap_or_default();
            let found = agreement(self.engine.name(), model, &given, &outputs);
            self.add("computes what others compute", found);
        }
    }

    /// A larger network in the same process: it takes longer, and leaves the smaller one as it was.
    fn side_by_side(&mut self, large: &Built, small: &mut dyn Session, before: &[f64]) {
        let times = large.prepare(self.engine, Seed(2)).and_then(|mut session| {
            let mut times = [Vec::new(), Vec::new()];
            for _ in 0..RUNS {
                times[0].push(small.run()?.wall.as_secs_f64() * 1e3);
                times[1].push(session.run()?.wall.as_secs_f64() * 1e3);
            }
            Ok(times)
        });
        let found = match times {
            Err(error) => Err(error.to_string()),
            Ok([small, large]) => {
                let (alone, small, large) = (least(before), least(&small), least(&large));
                let found = format!("{small:.3} and {large:.3} ms in turns, {alone:.3} ms alone");
                match large > small {
                    true => Ok(found),
                    false => Err(format!("the larger takes no longer: {found}")),
                }
            }
        };
        self.add("runs two networks in turn", found);
    }
}

/// How the outputs agree with those of another engine that computes here.
fn agreement(own: &str, model: &Built, given: &[f32], outputs: &[f32]) -> Result<String, String> {
    let reference = computing(None).ok().map(|(reference, _)| reference);
    let Some(reference) = reference.filter(|reference| reference.name() != own) else {
        return Ok("nothing else is here to compare with".into());
    };
    let session = model.prepare(reference.as_ref(), Seed(1));
    let expected = session
        .and_then(|mut session| session.infer(given))
        .map_err(|e| e.to_string())?;
    let scale = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let apart = expected.iter().zip(outputs).map(|(a, b)| (a - b).abs());
    let worst = apart.fold(0.0_f32, f32::max);
    let name = reference.name();
    let found = format!(
        "at most {:.4} % of the largest away from {name}",
        100.0 * worst / scale
    );
    match outputs.len() == expected.len() && worst <= TOLERANCE * scale {
        true => Ok(found),
        false => Err(format!("{found}; half a per cent is the most")),
    }
}

fn least(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}
