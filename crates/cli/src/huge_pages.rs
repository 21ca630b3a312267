//! Pages of 2 MiB: what trains is faster with them, and what waits for calls wastes them.
//!
//! The allocator asks for such pages. A server that needs 4 MB of memory takes 13 MB then (docs/benchmarks/mcp.md).

/// From now on this process gets none. What it starts inherits that; workers take it back.
pub fn avoid() {
    set_avoided(true);
}

/// This process may have some, whatever it inherited.
pub fn allow() {
    set_avoided(false);
}

fn set_avoided(avoided: bool) {
    // Without them, or with them, everything works.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(avoided);
    #[cfg(not(target_os = "linux"))]
    let _ = avoided;
}
