//! promdog: a Prometheus-to-Datadog translation proxy.
//!
//! Pure core, thin shell: the core modules take values and return values (no clock, file, socket, lock or `async`);
//! the shell fetches, sends and serves. `ARCHITECTURE.md` draws the flow; `tests/it/tidy.rs` holds the walls.

// core
pub mod catalog;
pub mod column;
pub mod delta;
pub mod exposition;
pub mod inventory;
pub mod ledger;
pub mod mapping;
pub mod number;
pub mod payload;
pub mod tags;
pub mod time;
pub mod translate;
pub mod view;
pub mod yaml;

// shell
pub mod app;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod cpu;
pub mod datadog;
pub mod mock;
pub mod pull;
pub mod push;
pub mod scrape;
pub mod server;
pub mod store;
pub mod targets;
pub mod telemetry;
pub mod tls;
