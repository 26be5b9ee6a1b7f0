//! The machine: what it is, how it is doing, and which of its CPUs to measure on.
//!
//! Denormal numbers (below about 1e-38) can make an inference many times slower. Flushing them to zero
//! is a switch of the processor that Rust has no safe way to set, so it is left to the engines: ONNX Runtime
//! does it by itself when asked; tract cannot. Networks with well-scaled weights and inputs, as
//! they are drawn here, do not produce denormals in numbers that could be noticed.

use std::fs;
use std::path::Path;

use blocklens_core::measurement::DeviceDescription;
use serde::{Deserialize, Serialize};

use super::{Availability, Engine, Machine};

/// Describes what measures, and on what: a device on another machine tells itself. Where the engine is unavailable its
/// version is empty.
#[must_use]
pub fn describe(
    engine: &dyn Engine,
    availability: &Availability,
    threads: usize,
) -> DeviceDescription {
    let (machine, host) = match engine.machine() {
        Some(machine) => {
            let host = machine.host.clone();
            (machine, Some(host))
        }
        None => (this(engine), None),
    };
    DeviceDescription {
        engine: engine.name().to_owned(),
        engine_version: availability.version().unwrap_or_default().to_owned(),
        threads,
        precision: engine.precision(),
        cpu: machine.chip.unwrap_or_else(|| NOT_TOLD.into()),
        cpus: machine.cpus.unwrap_or_default(),
        system: machine.system.unwrap_or_else(|| NOT_TOLD.into()),
        governor: machine.governor,
        host,
    }
}

/// What stands where a device elsewhere does not say what it is.
const NOT_TOLD: &str = "not told";

/// This machine, as an engine on it is to be told from others.
#[must_use]
pub fn this(engine: &dyn Engine) -> Machine {
    Machine {
        host: name(),
        chip: Some(engine.chip().unwrap_or_else(cpu_model)),
        cpus: Some(cpus()),
        system: Some(format!(
            "{} {}",
            std::env::consts::OS,
            std::env::consts::ARCH
        )),
        governor: governor(),
    }
}

/// The name of this machine.
fn name() -> String {
    let variable = || std::env::var("HOSTNAME").ok();
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(read_line)
        .or_else(variable)
        .unwrap_or_else(|| "a machine without a name".into())
}

/// Logical CPUs that this process may use.
#[must_use]
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor as the system names it; its architecture where the system does not.
#[must_use]
pub fn cpu_model() -> String {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| model_in_cpuinfo(&text))
        .or_else(|| read_line("/proc/device-tree/model"))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first line that names the processor: `model name` on x86, `Hardware` or `Model` on many ARM boards.
fn model_in_cpuinfo(text: &str) -> Option<String> {
    ["model name", "Hardware", "Model", "cpu model"]
        .iter()
        .find_map(|wanted| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                let value = value.trim();
                (key.trim() == *wanted && !value.is_empty()).then(|| value.to_owned())
            })
        })
}

/// The frequency governor of the CPU that would be measured on, where the system tells.
#[must_use]
pub fn governor() -> Option<String> {
    let cpu = choose_cpus(1).ok()?.first().copied()?;
    read_line(cpu_file(cpu, "cpufreq/scaling_governor"))
}

/// The machine at one instant. What the system does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Load average over one minute: processes that ran or wanted to.
    pub load: Option<f64>,
    /// Clock frequency of the CPU that is measured on, in MHz.
    pub frequency_mhz: Option<f64>,
    /// The hottest thermal zone, in degrees Celsius.
    pub temperature_c: Option<f64>,
}

/// Reads the machine's state. Takes a few system calls; not for use inside a timed section.
#[must_use]
pub fn state(cpu: Option<usize>) -> State {
    State {
        load: read_line("/proc/loadavg").and_then(|line| first_number(&line)),
        frequency_mhz: cpu
            .and_then(|cpu| read_line(cpu_file(cpu, "cpufreq/scaling_cur_freq")))
            .and_then(|line| first_number(&line))
            .map(|khz| khz / 1e3),
        temperature_c: hottest_zone("/sys/class/thermal"),
    }
}

fn hottest_zone(folder: impl AsRef<Path>) -> Option<f64> {
    fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|zone| first_number(&read_line(zone.path().join("temp"))?))
        .map(|milli| milli / 1e3)
        .filter(|celsius| (-50.0..200.0).contains(celsius))
        .max_by(f64::total_cmp)
}

fn first_number(line: &str) -> Option<f64> {
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_file(cpu: usize, file: &str) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/{file}")
}

/// The first line of a file of the system, without spaces and terminators; `None` when empty or unreadable.
fn read_line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim_matches(['\0', ' ', '\t']);
    (!line.is_empty()).then(|| line.to_owned())
}

/// Why threads could not be pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The operating system offers no way, or blocklens does not know it.
    #[error("{0} does not let a program choose its CPUs")]
    Unsupported(&'static str),
    /// Fewer CPUs may be used than threads are to run.
    #[error("{asked} threads are to run, but only {found} CPUs may be used")]
    TooFew {
        /// Threads that are to run.
        asked: usize,
        /// CPUs that may be used.
        found: usize,
    },
    /// The system refused.
    #[error("the system refused: {0}")]
    Refused(String),
}

/// Pins the calling thread, and all threads that it starts from now on, to the `threads` CPUs of
/// [`choose_cpus`]. Returns them.
///
/// # Errors
/// [`PinError`] when that is not possible; nothing has changed then.
pub fn pin(threads: usize) -> Result<Vec<usize>, PinError> {
    let chosen = choose_cpus(threads)?;
    pin_to(&chosen)?;
    Ok(chosen)
}

/// The CPUs to measure on: the fastest kind of core that this process may use; of these the last,
/// because systems handle interrupts on the first ones; and one hardware thread per core while there are cores
/// enough.
///
/// # Errors
/// [`PinError`] when fewer CPUs may be used than threads are to run, or the system does not tell.
pub fn choose_cpus(threads: usize) -> Result<Vec<usize>, PinError> {
    let allowed: Vec<Cpu> = allowed_cpus()?.into_iter().map(read_cpu).collect();
    rank(allowed, threads)
}

/// What decides whether a CPU is good to measure on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cpu {
    id: usize,
    /// How fast the core is compared with others of the machine, in any unit.
    speed: u64,
    /// The hardware threads of its core, as the system writes the list.
    core: String,
}

fn read_cpu(id: usize) -> Cpu {
    let number = |file| read_line(cpu_file(id, file)).and_then(|line| line.parse().ok());
    Cpu {
        id,
        speed: number("cpu_capacity")
            .or_else(|| number("cpufreq/cpuinfo_max_freq"))
            .unwrap_or(0),
        core: read_line(cpu_file(id, "topology/thread_siblings_list"))
            .unwrap_or_else(|| id.to_string()),
    }
}

fn rank(mut cpus: Vec<Cpu>, threads: usize) -> Result<Vec<usize>, PinError> {
    if threads > cpus.len() {
        return Err(PinError::TooFew {
            asked: threads,
            found: cpus.len(),
        });
    }
    cpus.sort_by_key(|cpu| (cpu.speed, cpu.id));
    cpus.reverse();
    let mut cores = Vec::new();
    let (mut first, mut siblings) = (Vec::new(), Vec::new());
    for cpu in cpus {
        if cores.contains(&cpu.core) {
            siblings.push(cpu.id);
        } else {
            cores.push(cpu.core);
            first.push(cpu.id);
        }
    }
    first.append(&mut siblings);
    first.truncate(threads);
    Ok(first)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allowed_cpus() -> Result<Vec<usize>, PinError> {
    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|e| PinError::Refused(e.to_string()))?;
    Ok((0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .collect())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn pin_to(cpus: &[usize]) -> Result<(), PinError> {
    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;
    let refused = |error: nix::Error| PinError::Refused(error.to_string());
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).map_err(refused)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(refused)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allowed_cpus() -> Result<Vec<usize>, PinError> {
    Err(PinError::Unsupported(std::env::consts::OS))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn pin_to(_cpus: &[usize]) -> Result<(), PinError> {
    Err(PinError::Unsupported(std::env::consts::OS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(id: usize, speed: u64, core: &str) -> Cpu {
        Cpu {
            id,
            speed,
            core: core.to_owned(),
        }
    }

    #[test]
    fn the_last_fast_core_comes_first_and_siblings_last() {
        // A hybrid processor: two fast cores with two threads each, then two slow cores.
        let hybrid = vec![
            cpu(0, 5000, "0-1"),
            cpu(1, 5000, "0-1"),
            cpu(2, 5000, "2-3"),
            cpu(3, 5000, "2-3"),
            cpu(4, 3000, "4"),
            cpu(5, 3000, "5"),
        ];
        assert_eq!(rank(hybrid.clone(), 1).unwrap(), [3]);
        assert_eq!(rank(hybrid.clone(), 3).unwrap(), [3, 1, 5]);
        assert_eq!(rank(hybrid.clone(), 6).unwrap(), [3, 1, 5, 4, 2, 0]);
        assert_eq!(
            rank(hybrid, 7),
            Err(PinError::TooFew { asked: 7, found: 6 })
        );
    }

    #[test]
    fn pinning_holds_for_the_thread_that_asked() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let before = allowed_cpus().unwrap();
        let inside = std::thread::spawn(|| {
            let chosen = pin(1).unwrap();
            assert_eq!(allowed_cpus().unwrap(), chosen);
            chosen
        });
        assert!(before.contains(&inside.join().unwrap()[0]));
        assert_eq!(allowed_cpus().unwrap(), before);
    }

    #[test]
    fn the_processor_is_named() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(model_in_cpuinfo(x86).as_deref(), Some("AMD EPYC"));
        let arm = "processor\t: 0\nBogoMIPS\t: 108\nHardware\t: BCM2835\n";
        assert_eq!(model_in_cpuinfo(arm).as_deref(), Some("BCM2835"));
        assert_eq!(model_in_cpuinfo("nothing"), None);
        assert!(!cpu_model().is_empty());
    }

    #[test]
    fn the_state_is_read_where_the_system_tells() {
        let state = state(Some(0));
        assert!(state.load.is_none_or(|load| load >= 0.0));
        if cfg!(target_os = "linux") {
            assert!(state.load.is_some());
        }
    }
}
