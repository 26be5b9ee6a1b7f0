//! Metrics that are computed from a model of something else, without a device: simulated latencies, latency tables,
//! accuracy surrogates and models learnt from measurements. None of them is a measurement, and each says so.

mod accuracy;
mod block_model;
mod lookup;
mod predictor;
mod simulated;

pub use accuracy::OfaAccuracy;
pub(crate) use block_model::TermSum;
pub use block_model::{
    BlockModel, BlockModelError, DepthTerm, LayerTerms, ModelMetric, UnitTerms, WidthTerm,
};
pub use lookup::{
    Entry, LookupLatency, LookupTable, LookupTableError, TimedLayer, all_entries, entries,
    layer_keys, timed_yaml,
};
pub use predictor::AccuracyPredictor;
pub use simulated::{SimulatedDevice, SimulatedLatency};
