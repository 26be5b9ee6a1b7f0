//! Limits that a worker sets itself before engine code runs.

/// Limits the address space of this process to `mib` MiB: an allocation beyond it fails, and the
/// measurement with it, instead of the machine.
///
/// # Errors
/// When the system refuses, or has no such limit.
#[cfg(unix)]
pub fn limit_memory(mib: u64) -> Result<(), String> {
    use nix::sys::resource::{Resource, setrlimit};
    let bytes = mib.saturating_mul(1 << 20);
    setrlimit(Resource::RLIMIT_AS, bytes, bytes)
        .map_err(|e| format!("cannot limit memory to {mib} MiB: {e}"))
}

/// The limit of this process's address space in MiB, where there is one.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
        let (soft, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
        (soft != RLIM_INFINITY).then_some(soft >> 20)
    }
    #[cfg(not(unix))]
    None
}

/// Limits the address space of this process: not possible on this system.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn limit_memory(_mib: u64) -> Result<(), String> {
    Err("--memory-limit works on Unix only".into())
}
