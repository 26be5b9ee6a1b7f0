//! Measuring as its users call it: each module says what it holds the library to.
//! One binary, so that the crate is linked once.

mod conformance;
mod data;
mod devices;
mod engines;
mod executors;
mod images;
mod plans;
mod program;
mod proxies;
mod rounds;
mod supernet;
mod trained;
