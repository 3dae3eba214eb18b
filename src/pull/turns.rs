//! How many targets are read at a time. Each one that is read has buffers of its own, which add up where there are
//! hundreds, and its share of the threads that serve.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const AT_A_TIME: usize = 16;
/// Nobody waits longer than this: targets that hang do not hold up the others.
const PATIENCE: Duration = Duration::from_secs(1);

/// The turns of all targets; clones share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Turns {
    /// Waits until it is one's turn, in the order of those who ask: it is, for as long as what this returns lives. `None`
    /// once that has taken long enough.
    pub(super) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_with;

    use futures::FutureExt;
    use futures::future::join_all;
    use tokio::time::{Instant, pause};

    use super::{AT_A_TIME, PATIENCE, Turns};

    #[tokio::test]
    async fn one_that_ends_lets_the_next_one_in() {
        pause();
        let (turns, began) = (Turns::default(), Instant::now());
        let mut first = join_all(repeat_with(|| turns.wait()).take(AT_A_TIME)).await;
        let mut next = Box::pin(turns.wait());
        assert!((&mut next).now_or_never().is_none(), "there are no more turns");
        first.pop();
        next.await;
        assert_eq!(began.elapsed().as_secs(), 0);
    }

    #[tokio::test]
    async fn those_that_hang_hold_the_others_up_for_a_second() {
        pause();
        let (turns, began) = (Turns::default(), Instant::now());
        let hanging = join_all(repeat_with(|| turns.wait()).take(AT_A_TIME)).await;
        join_all(repeat_with(|| turns.wait()).take(1000)).await;
        assert!((PATIENCE..2 * PATIENCE).contains(&began.elapsed()));
        drop(hanging);
    }
}
