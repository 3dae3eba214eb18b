//! Refusals as Kubernetes words them: a `Status` object with a reason and a code.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::mock::kubernetes::resource::Resource;

#[derive(Clone, Debug)]
pub struct Failure {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    pub details: Value,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub fn no_resource() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub fn no_object(resource: Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self { details: details(resource, name), ..Self::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    pub fn forbidden(resource: Resource, name: &str, message: String) -> Self {
        Self { details: details(resource, name), ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    /// A continue token whose snapshot is no longer kept.
    pub fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You must start a \
                       new list without the continue parameter.";
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub fn too_old(wanted: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {wanted} ({oldest})"))
    }

    /// A list at a version that is yet to come.
    pub fn too_large(wanted: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        Self {
            details: json!({"causes": causes, "retryAfterSeconds": 1}),
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
        }
    }

    pub fn status(&self) -> Value {
        let Self { code, reason, message, details } = self;
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        if !details.is_null() {
            status["details"] = details.clone();
        }
        status
    }
}

fn details(resource: Resource, name: &str) -> Value {
    let mut details = json!({"kind": resource.plural()});
    for (key, value) in [("name", name), ("group", resource.group())] {
        if !value.is_empty() {
            details[key] = json!(value);
        }
    }
    details
}
