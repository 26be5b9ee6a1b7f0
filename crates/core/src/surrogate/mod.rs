//! Metrics that are computed from a model of something else, without a device: simulated
//! latencies, latency tables and accuracy surrogates. None of them is a measurement, and each says so.

mod accuracy;
mod lookup;
mod predictor;
mod simulated;

pub use accuracy::OfaAccuracy;
pub use lookup::{LookupLatency, LookupTable, LookupTableError, layer_keys};
pub use predictor::AccuracyPredictor;
pub use simulated::{SimulatedDevice, SimulatedLatency};
