//! CA certificates that come from elsewhere than a file, and change while we run.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

/// The latest certificates; clones share them.
#[derive(Clone, Debug)]
pub struct Bundle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: ArcSwap<State>,
    wanted: Notify,
}

/// What is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// PEM.
    Here(Arc<[u8]>),
    /// They could never be read so far, and why.
    Missing(Arc<str>),
}

impl Default for Bundle {
    fn default() -> Self {
        let state = State::Missing("they have not been read yet".into());
        Self(Arc::new(Inner { state: ArcSwap::from_pointee(state), wanted: Notify::new() }))
    }
}

impl PartialEq for Bundle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Bundle {}

impl Bundle {
    #[must_use]
    pub fn now(&self) -> State {
        State::clone(&self.0.state.load())
    }

    pub fn set(&self, pem: Vec<u8>) {
        self.0.state.store(Arc::new(State::Here(pem.into())));
    }

    /// Says why they cannot be read; those that were read before stay.
    pub fn cannot_be_had(&self, reason: &str) {
        if matches!(**self.0.state.load(), State::Missing(_)) {
            self.0.state.store(Arc::new(State::Missing(reason.into())));
        }
    }

    /// Asks whoever reads them to do so again: a certificate was refused.
    pub fn want(&self) {
        self.0.wanted.notify_one();
    }

    /// Ready when they are asked for.
    pub async fn wanted(&self) {
        self.0.wanted.notified().await;
    }
}
