//! The effects of blocklens: engines, the measuring protocol, worker processes, the store.
#![warn(missing_docs)]

pub mod engine;
