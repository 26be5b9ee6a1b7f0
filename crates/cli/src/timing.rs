//! How networks are timed: alone or in turn with a reference, and for how long.

use anyhow::{Result, ensure};
use blocklens_measure::engine::Engine;
use blocklens_measure::protocol::Protocol;
use clap::{Args, ValueEnum};

/// How inferences are timed.
#[derive(Args, Clone, Copy, Debug)]
pub struct TimingArgs {
    /// Whether every inference takes turns with one of a reference network (the space's smallest), in whose multiples
    /// latencies are then counted, so that a machine whose pace changes does not pass for a slow network
    #[arg(long, value_enum, default_value_t = Pairing::Auto)]
    pub pairing: Pairing,

    /// Most seconds for which a network is sampled, if its median is not known to 1 % before: more where networks are
    /// slow and the machine is noisy
    #[arg(long, default_value_t = Protocol::default().max_s, value_name = "SECONDS", value_parser = seconds)]
    pub sampling_time: f64,
}

impl TimingArgs {
    /// The protocol asked for, on an engine, where a measurement that takes `time_limit` seconds has hung.
    pub fn protocol(self, engine: &dyn Engine, time_limit: u64) -> Result<Protocol> {
        ensure!(
            self.sampling_time <= time_limit as f64,
            "--sampling-time {} leaves a measurement no time within --time-limit {time_limit}; raise the time limit",
            self.sampling_time,
        );
        Ok(Protocol {
            max_s: self.sampling_time,
            paired: match self.pairing {
                Pairing::Auto => !engine.is_simulated(),
                Pairing::On => true,
                Pairing::Off => false,
            },
            ..Protocol::default()
        })
    }
}

/// Whether networks are timed in turn with a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pairing {
    /// On real engines, not on simulated ones
    Auto,
    /// Always
    On,
    /// Never: every network is timed alone, in a hot loop
    Off,
}

pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if seconds.is_finite() && seconds > 0.0 {
        Ok(seconds)
    } else {
        Err("must be more than 0".into())
    }
}
