//! The `holdpoint` binary: everything is in the library.

use std::process::ExitCode;

/// Idle connections are what this process has most of; jemalloc keeps each of them small.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    holdpoint::cli::main()
}
