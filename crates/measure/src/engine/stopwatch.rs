//! The stopwatch: wall time, CPU time and preemptions of one call.
//!
//! A sample that took longer on the wall than on the CPU, or that the scheduler interrupted, was
//! disturbed by something else on the machine. Only with these figures beside it can a long sample be
//! told from a slow network.

use std::time::{Duration, Instant};

/// How long one inference took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time on a monotonic clock.
    pub wall: Duration,
    /// CPU time of the computing threads, where the system tells.
    pub cpu: Option<Duration>,
    /// Involuntary context switches of the computing threads, where the system tells.
    pub preemptions: Option<u32>,
}

/// Whose CPU time and preemptions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The calling thread: exact when it alone computes.
    Thread,
    /// The whole process: needed when the engine has threads of its own.
    Process,
}

/// Times calls.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    scope: Scope,
}

impl Stopwatch {
    /// A stopwatch for an engine that computes with `threads` threads: with one, only the calling thread
    /// counts, otherwise the whole process.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let scope = if threads <= 1 {
            Scope::Thread
        } else {
            Scope::Process
        };
        Self { scope }
    }

    /// Calls `f` and says how long it took. The wall clock is read last before and first after the
    /// call, so that reading the others is not part of the time.
    pub fn time<T>(&self, f: impl FnOnce() -> T) -> (T, Timing) {
        let before = usage(self.scope);
        let start = Instant::now();
        let value = f();
        let wall = start.elapsed();
        let after = usage(self.scope);
        let timing = Timing {
            wall,
            cpu: difference(before.cpu, after.cpu, |a, b| b.saturating_sub(a)),
            preemptions: difference(before.switches, after.switches, |a, b| {
                u32::try_from(b.saturating_sub(a)).unwrap_or(u32::MAX)
            }),
        };
        (value, timing)
    }
}

fn difference<T, U>(before: Option<T>, after: Option<T>, f: impl FnOnce(T, T) -> U) -> Option<U> {
    Some(f(before?, after?))
}

/// The counters of a thread or process since it started.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu: Option<Duration>,
    switches: Option<i64>,
}

/// Linux and Android count both for single threads, CPU time in nanoseconds.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn usage(scope: Scope) -> Usage {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::time::{ClockId, clock_gettime};
    let (who, clock) = match scope {
        Scope::Thread => (UsageWho::RUSAGE_THREAD, ClockId::CLOCK_THREAD_CPUTIME_ID),
        Scope::Process => (UsageWho::RUSAGE_SELF, ClockId::CLOCK_PROCESS_CPUTIME_ID),
    };
    Usage {
        cpu: clock_gettime(clock).ok().map(Duration::from),
        switches: getrusage(who)
            .ok()
            .map(|usage| usage.involuntary_context_switches()),
    }
}

/// Other Unix systems count for the process, CPU time in microseconds.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn usage(_scope: Scope) -> Usage {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Usage::default();
    };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Usage {
        cpu: u64::try_from(micros).ok().map(Duration::from_micros),
        switches: Some(usage.involuntary_context_switches()),
    }
}

#[cfg(not(unix))]
fn usage(_scope: Scope) -> Usage {
    Usage::default()
}

/// Readings of the clock that [`clock_resolution`] takes.
const CLOCK_READINGS: usize = 1000;

/// The smallest step of the wall clock that was seen in a thousand readings: its resolution, or the
/// time that reading it takes, whichever is longer.
#[must_use]
pub fn clock_resolution() -> Duration {
    let mut smallest = Duration::from_secs(1);
    let mut last = Instant::now();
    let mut steps = 0;
    let deadline = last + Duration::from_secs(1);
    while steps < CLOCK_READINGS && last < deadline {
        let now = Instant::now();
        if now > last {
            smallest = smallest.min(now - last);
            steps += 1;
        }
        last = now;
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_uses_cpu_and_sleep_does_not() {
        let watch = Stopwatch::new(1);
        let (sum, busy) = watch.time(|| (0..3_000_000_u64).map(std::hint::black_box).sum::<u64>());
        assert!(sum > 0 && busy.wall > Duration::ZERO);
        let ((), idle) = watch.time(|| std::thread::sleep(Duration::from_millis(30)));
        assert!(idle.wall >= Duration::from_millis(30));
        if cfg!(target_os = "linux") {
            assert!(busy.cpu.is_some_and(|cpu| cpu > Duration::ZERO));
            assert!(idle.cpu.is_some_and(|cpu| cpu < Duration::from_millis(15)));
            assert!(idle.preemptions.is_some());
        }
    }

    #[test]
    fn the_process_includes_its_threads() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let work = || {
            std::thread::spawn(|| (0..20_000_000_u64).map(std::hint::black_box).sum::<u64>())
                .join()
                .unwrap()
        };
        let (_, alone) = Stopwatch::new(1).time(work);
        let (_, together) = Stopwatch::new(2).time(work);
        assert!(alone.cpu < together.cpu, "{alone:?} {together:?}");
    }

    #[test]
    fn the_clock_ticks() {
        let resolution = clock_resolution();
        assert!(resolution > Duration::ZERO && resolution < Duration::from_millis(100));
    }
}
