//! Core as its users call it: each module says what it holds the library to.
//! One binary, so that the crate is linked once.

mod across;
mod block_model;
mod compare;
mod demo_report;
mod estimators;
mod fragments;
mod fronts;
mod general_spaces;
mod inference;
mod multiple;
mod nsga2;
mod ofa_costs;
mod reduce;
mod reduction;
mod report;
mod resolutions;
mod search;
mod study;
mod supernets;
