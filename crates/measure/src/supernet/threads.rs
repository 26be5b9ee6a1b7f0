//! Batches of one network on as many threads as are free, each with an engine of its own that computes with one thread:
//! what comes out does not depend on how many they are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// Threads that may compute at the same time, whoever asks.
#[derive(Debug)]
pub(super) struct Threads {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Threads {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            free: Mutex::new(threads.max(1)),
            freed: Condvar::new(),
        }
    }

    /// Waits for a thread; takes up to `wanted` of them.
    fn take(&self, wanted: usize) -> usize {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let taken = wanted.clamp(1, *free);
        *free -= taken;
        taken
    }

    fn give_back(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }

    /// Does all of `count` pieces of work, each worker with a state of its own, and returns their results in order, or
    /// the first error by the number of its piece. Ends early, with `None` for what is missing, when `interrupted` is
    /// set.
    pub(super) fn run<S, T: Send, E: Send>(
        &self,
        count: usize,
        interrupted: &AtomicBool,
        state: &(dyn Fn() -> S + Sync),
        work: &(dyn Fn(&mut S, usize) -> Result<T, E> + Sync),
    ) -> Result<Option<Vec<T>>, E> {
        let next = AtomicUsize::new(0);
        let failed = AtomicUsize::new(usize::MAX);
        let worker = || {
            let _returned = Returned(self);
            let mut state = state();
            let mut done = Vec::new();
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                // What comes before a failure is still done, so that always the same one is told.
                let over = piece >= count || piece > failed.load(Ordering::Relaxed);
                if over || interrupted.load(Ordering::Relaxed) {
                    return done;
                }
                let result = work(&mut state, piece);
                if result.is_err() {
                    failed.fetch_min(piece, Ordering::Relaxed);
                }
                done.push((piece, result));
            }
        };
        let workers = self.take(count);
        let mut done = thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(worker)).collect();
            let mut done = worker();
            for other in others {
                match other.join() {
                    Ok(part) => done.extend(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_unstable_by_key(|(piece, _)| *piece);
        let results = done.into_iter().map(|(_, result)| result);
        let results = results.collect::<Result<Vec<T>, E>>()?;
        Ok((results.len() == count).then_some(results))
    }
}

/// Gives a thread back, also when its work panics.
struct Returned<'a>(&'a Threads);

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_are_in_order_and_never_more_threads_than_there_are() {
        for threads in 1..4 {
            let pool = Threads::new(threads);
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let job = || {
                let work = |sum: &mut usize, piece: usize| -> Result<usize, ()> {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_micros(200 * (piece as u64 % 3)));
                    now.fetch_sub(1, Ordering::SeqCst);
                    *sum += 1;
                    Ok(piece * piece)
                };
                let all = pool.run(20, &AtomicBool::new(false), &|| 0, &work);
                let expected: Vec<usize> = (0..20).map(|i| i * i).collect();
                assert_eq!(all, Ok(Some(expected)));
            };
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(job);
                }
            });
            assert!(most.load(Ordering::SeqCst) <= threads);
            assert_eq!(*pool.free.lock().unwrap(), threads);
        }
    }

    #[test]
    fn the_first_failure_is_told_and_an_interruption_is_none() {
        let pool = Threads::new(3);
        for _ in 0..50 {
            let work = |_: &mut (), piece: usize| if piece % 7 == 4 { Err(piece) } else { Ok(()) };
            assert_eq!(pool.run(30, &AtomicBool::new(false), &|| (), &work), Err(4));
        }
        let done = pool.run(3, &AtomicBool::new(true), &|| (), &|(), _| Ok::<_, ()>(()));
        assert_eq!(done, Ok(None));
    }
}
