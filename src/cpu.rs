//! Work that keeps a core busy: off the threads that serve, and no more of it at a time than there are cores, so that
//! requests are answered while a large target is read.

use std::num::NonZero;
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

static CORES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get))));

/// Work that takes longer than this, in nanoseconds, holds others up where it stands.
const LONG: usize = 1_000_000;

/// Does work that takes so many nanoseconds, by a guess: at once if it is short, else beside the threads that serve.
///
/// # Panics
/// If the work does.
pub async fn run<T: Send + 'static>(nanos: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if nanos < LONG {
        return work();
    }
    // The semaphore is never closed.
    let _core = Arc::clone(&CORES).acquire_owned().await;
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels it.
            Err(_) => std::future::pending().await,
        },
    }
}
