//! Metrics of many architectures on several threads.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use blocklens_core::metric::{Metric, MetricError};
use blocklens_core::space::Architecture;

/// What a metric gives for an architecture.
pub type Value = Result<f64, MetricError>;

/// Architectures that a thread takes at once where metrics are cheap: some are fastest for many together.
const AT_ONCE: usize = 2_048;

/// The values of every metric for every architecture: by metric, then in the order of `archs`. `None` when
/// `interrupted` was set before the end. `progress` is called with the number of architectures just done.
pub fn evaluate_all<'m, M: Deref<Target = dyn Metric + 'm> + Sync>(
    metrics: &[M],
    archs: &[Architecture],
    threads: usize,
    interrupted: &AtomicBool,
    progress: &(dyn Fn(usize) + Sync),
) -> Option<Vec<Vec<Value>>> {
    let costly = metrics.iter().any(|metric| metric.is_costly());
    let at_once = if costly { 1 } else { AT_ONCE };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done: Vec<(usize, Vec<Vec<Value>>)> = Vec::new();
        loop {
            let first = next.fetch_add(at_once, Ordering::Relaxed);
            if first >= archs.len() || interrupted.load(Ordering::Relaxed) {
                return done;
            }
            let some = &archs[first..archs.len().min(first + at_once)];
            done.push((first, evaluate_some(metrics, some)));
            progress(some.len());
        }
    };
    let mut parts = run_on(threads, &work);
    parts.sort_unstable_by_key(|(first, _)| *first);
    let mut all: Vec<Vec<Value>> = vec![Vec::with_capacity(archs.len()); metrics.len()];
    for (_, part) in parts {
        all.iter_mut().zip(part).for_each(|(a, p)| a.extend(p));
    }
    // What an interruption cut short would look like a failure.
    if interrupted.load(Ordering::Relaxed) {
        return None;
    }
    let complete = all.iter().all(|values| values.len() == archs.len());
    complete.then_some(all)
}

/// The values of every metric for a few architectures, on this thread.
pub fn evaluate_some<'m, M: Deref<Target = dyn Metric + 'm>>(
    metrics: &[M],
    archs: &[Architecture],
) -> Vec<Vec<Value>> {
    metrics.iter().map(|m| m.evaluate_many(archs)).collect()
}

/// Runs `work` on `threads` threads, this one among them, and joins what they return.
pub(crate) fn run_on<T: Send>(threads: usize, work: &(dyn Fn() -> Vec<T> + Sync)) -> Vec<T> {
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}
