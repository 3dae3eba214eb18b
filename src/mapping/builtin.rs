//! The mappings that come with the binary, under the names of Datadog's integrations.

use crate::mapping::Source;

const ALL: [(&str, &str); 4] = [
    ("kubevirt_api", include_str!("../../mappings/kubevirt_api.yaml")),
    ("kubevirt_controller", include_str!("../../mappings/kubevirt_controller.yaml")),
    ("kubevirt_handler", include_str!("../../mappings/kubevirt_handler.yaml")),
    ("go", include_str!("../../mappings/go.yaml")),
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// One of them.
#[must_use]
pub fn source(name: &str) -> Option<Source> {
    let (name, text) = ALL.iter().find(|(known, _)| *known == name)?;
    Some(Source { name: format!("mappings/{name}.yaml"), text: (*text).to_owned() })
}
