//! Batches of points as request bodies of Datadog's `POST /api/v2/series`, under the intake's limits. Sends nothing.

use std::sync::Arc;

/// One request body: JSON `{"series":[…]}`, compressed as zstd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// As sent, at most 512,000 bytes.
    pub zstd: Arc<[u8]>,
    /// Length of the JSON before compression, at most 5,242,880 bytes.
    pub raw_bytes: usize,
    /// Points inside, at most 10,000.
    pub points: usize,
}
