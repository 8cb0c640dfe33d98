//! How much memory this process has held.

/// The most resident memory in bytes since the process began or since [`reset`], where the system
/// tells (Linux: `VmHWM`).
pub(crate) fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// The resident memory in bytes now (Linux: `VmRSS`).
pub(crate) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// Lets the peak begin anew at what is resident now, where the system can.
pub(crate) fn reset() {
    // 5 resets the high-water mark; without the right to do so the mark only stays higher.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status_bytes(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}
