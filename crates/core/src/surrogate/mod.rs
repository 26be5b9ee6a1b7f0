//! Metrics that are computed from a model of something else, without a device: simulated
//! latencies and accuracy surrogates. None of them is a measurement, and each says so.

mod accuracy;
mod simulated;

pub use accuracy::OfaAccuracy;
pub use simulated::{SimulatedDevice, SimulatedLatency};
