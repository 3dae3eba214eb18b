//! datadog
