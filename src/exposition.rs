//! Prometheus exposition formats: read and write. Does not know Datadog, mappings or the network.
//!
//! Text 0.0.4 is read line by line, and a bad line costs itself only: see [`lex`] for what is accepted.

// No bytes whatever may stop the reader.
#![warn(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

mod decimal;
pub mod family;
pub mod lex;
mod plain;
pub mod series;
pub mod write;
