//! Whether networks are timed alone or in turn with a reference.

use blocklens_measure::engine::Engine;
use blocklens_measure::protocol::Protocol;
use clap::{Args, ValueEnum};

/// How inferences are timed.
#[derive(Args, Clone, Copy, Debug)]
pub struct PairingArgs {
    /// Whether every inference takes turns with one of a reference network (the space's smallest), in whose multiples latencies
    /// are then counted, so that a machine whose pace changes does not pass for a slow network
    #[arg(long, value_enum, default_value_t = Pairing::Auto)]
    pub pairing: Pairing,
}

impl PairingArgs {
    /// The protocol asked for, on an engine.
    pub fn protocol(self, engine: &dyn Engine) -> Protocol {
        Protocol {
            paired: match self.pairing {
                Pairing::Auto => !engine.is_simulated(),
                Pairing::On => true,
                Pairing::Off => false,
            },
            ..Protocol::default()
        }
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
