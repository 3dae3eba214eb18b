//! Prometheus exposition formats: read and write. Does not know Datadog, mappings or the network.

pub mod family;
