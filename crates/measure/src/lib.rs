//! The effects of blocklens: engines, the measuring protocol, worker processes, the store, campaigns.
//!
//! A [`job::Job`] is one measurement as plain data. A [`runner::Runner`] carries it out, in this process
//! or in one of its own that may crash; a [`campaign::Campaign`] does so along a schedule and
//! appends every outcome to the [`store::Store`] before the next begins.
#![warn(missing_docs)]

pub mod analysis;
pub mod campaign;
pub mod computed;
pub mod contest;
mod conversation;
pub mod coverage;
pub mod data;
pub mod engine;
pub mod evaluate;
pub mod failures;
pub mod files;
#[cfg(unix)]
pub mod guard;
pub mod images;
pub mod job;
pub mod limits;
pub mod lines;
pub mod metrics;
pub mod processes;
pub mod program;
pub mod protocol;
pub mod proxies;
pub mod readout;
pub mod recording;
pub mod rounds;
pub mod runner;
pub mod search;
pub mod source;
pub mod store;
pub mod supernet;
pub mod table;
pub mod text;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex guards, also where a thread panicked that had it: nothing here is left by half.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
