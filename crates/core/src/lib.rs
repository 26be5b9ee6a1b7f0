//! The pure half of blocklens: what a design space is, what its networks cost,
//! and what a set of measurements says about its blocks.
//!
//! Nothing here reads a clock, a disk or global randomness: values go in, values
//! come out, and the same seed gives the same result on any number of threads.
//! Measuring lives in `blocklens-measure`; the command line in `blocklens`.
//!
//! The way that data takes through the modules:
//!
//! ```text
//! space -> Architecture -> network (costs, ONNX) -> [measured elsewhere] -> profile -> report
//! ```
#![warn(missing_docs)]

pub mod checkpoint;
pub mod compare;
pub mod fragment;
pub mod measurement;
pub mod metric;
pub mod model;
pub mod network;
pub mod notation;
pub mod ofa;
mod onnx;
pub mod profile;
pub mod proxy;
pub mod quantity;
pub mod reduce;
pub mod report;
pub mod rounds;
pub mod sealed;
pub mod search;
pub mod seed;
mod shape;
pub mod shown;
pub mod space;
pub mod stats;
pub mod surrogate;
pub mod text;
pub mod units;
pub mod values;
