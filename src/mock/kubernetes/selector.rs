//! Which objects a request is about: resource, namespace, and the label and field selectors of a query.

use std::collections::HashMap;

use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::status::Failure;
use crate::mock::kubernetes::store::{Key, Object};

#[derive(Clone, Debug)]
pub struct Filter {
    pub resource: Resource,
    /// Absent: all.
    pub namespace: Option<String>,
    /// The name that a field selector demands.
    pub name: Option<String>,
    other_fields: Vec<FieldTerm>,
    labels: Vec<LabelTerm>,
}

#[derive(Clone, Debug)]
struct FieldTerm {
    field: Field,
    equal: bool,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LabelTerm {
    label: String,
    is: Is,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Is {
    There,
    Absent,
    OneOf(Vec<String>),
    /// True for an object without the label too.
    NoneOf(Vec<String>),
}

impl Filter {
    /// # Errors
    /// A selector that Kubernetes would refuse.
    pub fn new(
        resource: Resource,
        namespace: Option<String>,
        query: &HashMap<String, String>,
    ) -> Result<Self, Failure> {
        let text = |name: &str| query.get(name).map_or("", String::as_str);
        let fields = terms(text("fieldSelector")).into_iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let labels = terms(text("labelSelector")).into_iter().map(label).collect::<Result<Vec<_>, _>>()?;
        let names = fields.iter().find(|term| term.field == Field::Name && term.equal);
        let name = names.map(|term| term.value.clone());
        Ok(Self { resource, namespace, name, other_fields: fields, labels })
    }

    pub fn takes(&self, object: &Object) -> bool {
        let Object { resource, key: Key { namespace, name }, labels, .. } = object;
        *resource == self.resource
            && self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.other_fields.iter().all(|FieldTerm { field, equal, value }| {
                let is = match field {
                    Field::Name => name,
                    Field::Namespace => namespace,
                };
                (is == value) == *equal
            })
            && self.labels.iter().all(|LabelTerm { label, is }| match (is, labels.get(label)) {
                (Is::There, value) => value.is_some(),
                (Is::Absent, value) => value.is_none(),
                (Is::OneOf(values), value) => value.is_some_and(|value| values.contains(value)),
                (Is::NoneOf(values), value) => value.is_none_or(|value| !values.contains(value)),
            })
    }
}

/// Split at commas, but for those in parentheses.
fn terms(selector: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let split = selector.split(|char| {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        char == ',' && depth == 0
    });
    split.map(str::trim).filter(|term| !term.is_empty()).collect()
}

/// `a=b`, `a==b` or `a!=b`: left, whether equal, right.
fn comparison(term: &str) -> Option<(&str, bool, &str)> {
    let (left, equal, right) = match (term.split_once("!="), term.split_once('=')) {
        (Some((left, right)), _) => (left, false, right),
        (None, Some((left, right))) => (left, true, right.strip_prefix('=').unwrap_or(right)),
        (None, None) => return None,
    };
    Some((left.trim(), equal, right.trim()))
}

fn field(term: &str) -> Result<FieldTerm, Failure> {
    let Some((field, equal, value)) = comparison(term) else {
        return Err(Failure::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'")));
    };
    let field = match field {
        "metadata.name" => Field::Name,
        "metadata.namespace" => Field::Namespace,
        _ => return Err(Failure::bad_request(format!("field label not supported: {field}"))),
    };
    Ok(FieldTerm { field, equal, value: value.to_owned() })
}

fn label(term: &str) -> Result<LabelTerm, Failure> {
    let wrong = || Failure::bad_request(format!("unable to parse requirement: couldn't parse {term:?}"));
    let (label, is) = if let Some((head, rest)) = term.split_once('(') {
        let values = rest.strip_suffix(')').ok_or_else(wrong)?.split(',').map(|value| value.trim().to_owned());
        match head.split_whitespace().collect::<Vec<_>>()[..] {
            [label, "in"] => (label, Is::OneOf(values.collect())),
            [label, "notin"] => (label, Is::NoneOf(values.collect())),
            _ => return Err(wrong()),
        }
    } else if let Some((label, equal, value)) = comparison(term) {
        let values = vec![value.to_owned()];
        (label, if equal { Is::OneOf(values) } else { Is::NoneOf(values) })
    } else if let Some(label) = term.strip_prefix('!') {
        (label.trim(), Is::Absent)
    } else {
        (term, Is::There)
    };
    if label.is_empty() || label.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok(LabelTerm { label: label.to_owned(), is })
}
