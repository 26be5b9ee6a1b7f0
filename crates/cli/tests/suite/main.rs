//! The program as its users run it: each module says what it tries.
//! One binary, so that the crate is linked once.

mod across;
mod architectures;
mod blocks;
mod campaigns;
mod commands;
mod common;
mod compare;
#[path = "../../../measure/tests/suite/conformance.rs"]
mod conformance;
mod conventions;
mod costly;
mod diff;
mod doubts;
mod incoming;
mod measure;
mod metrics;
mod outputs;
mod precision;
mod processes;
mod proxies;
mod reduce;
mod search;
mod served;
#[cfg(unix)]
mod ssh;
mod supernet;
mod table;
