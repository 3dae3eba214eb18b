//! Who may do what: rules as a Role or ClusterRole writes them, and the refusal in the words of the real API.

use serde::Deserialize;

use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::status::Failure;

const USER: &str = "system:serviceaccount:promdog:promdog";

/// A `PolicyRule`, and where it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    pub verbs: Vec<String>,
    /// Empty: all.
    #[serde(rename = "resourceNames")]
    pub names: Vec<String>,
    /// The namespace of the RoleBinding. Absent: a ClusterRoleBinding, good for all.
    pub namespace: Option<String>,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub verb: &'a str,
    pub resource: Resource,
    /// Absent: the whole cluster.
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// # Errors
/// No rule allows it.
pub fn allow(rules: &[Rule], attempt: Attempt<'_>) -> Result<(), Failure> {
    if rules.iter().any(|rule| allows(rule, attempt)) {
        return Ok(());
    }
    let Attempt { verb, resource, namespace, name } = attempt;
    let scope = namespace.map_or("at the cluster scope".to_owned(), |name| format!("in the namespace {name:?}"));
    let object = name.map_or(String::new(), |name| format!(" {name:?}"));
    let message = format!(
        "{}{object} is forbidden: User {USER:?} cannot {verb} resource {:?} in API group {:?} {scope}",
        resource.qualified(),
        resource.plural(),
        resource.group(),
    );
    Err(Failure::forbidden(resource, name.unwrap_or(""), message))
}

fn allows(rule: &Rule, attempt: Attempt<'_>) -> bool {
    let Rule { api_groups, resources, verbs, names, namespace } = rule;
    let holds = |list: &[String], wanted: &str| list.iter().any(|entry| entry == "*" || entry == wanted);
    holds(verbs, attempt.verb)
        && holds(api_groups, attempt.resource.group())
        && holds(resources, attempt.resource.plural())
        && namespace.as_deref().is_none_or(|namespace| attempt.namespace == Some(namespace))
        && (names.is_empty() || attempt.name.is_some_and(|name| names.iter().any(|entry| entry == name)))
}
