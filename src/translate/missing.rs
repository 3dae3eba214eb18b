//! What a target does not show: rules that no family of its page matches, and which version's names it has.

use std::collections::HashSet;

use crate::catalog::Route;
use crate::mapping::{Mapping, Rule, RuleId, Version};
use crate::view::View;

/// What a page lacks of what the mapping knows.
#[derive(Clone, Debug)]
pub struct Missing<'m> {
    /// In the order of the files. A family without samples is not there: many appear when they are first used.
    pub rules: Vec<&'m Rule>,
    /// Where the mapping knows versions, and the page has a family that tells one.
    pub version: Option<&'m Version>,
}

/// Compares what a target has shown so far with the rules, and what it shows now with the versions.
#[must_use]
pub fn missing<'m>(view: &View, mapping: &'m Mapping) -> Missing<'m> {
    let catalog = &view.catalog;
    let matched = catalog.families.iter().filter_map(|family| match family.route {
        Route::Mapped { rule, .. } => Some(rule),
        Route::Unmapped(_) | Route::Excluded | Route::Collided => None,
    });
    let matched: HashSet<RuleId> = matched.collect();
    let ids = (0..).map(RuleId).zip(mapping.rules());
    let unmatched = ids.filter(|(id, _)| !matched.contains(id) && mapping.is_reachable(*id)).map(|(_, rule)| rule);
    let families: HashSet<u32> = view.source.iter().map(|(id, _)| catalog.row(catalog.slots[id]).family).collect();
    let names: HashSet<&str> = families.iter().map(|at| catalog.families[*at as usize].name.as_str()).collect();
    Missing { rules: unmatched.collect(), version: mapping.version(&names) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mapping::builtin;
    use crate::translate::{Limits, Params, Translator};

    #[test]
    fn rules_without_a_family_and_the_last_version_that_fits_are_told() {
        let mapping = Arc::new(Mapping::compile(&[builtin::source("kubevirt_api").unwrap()]).unwrap());
        let params = Params { namespace: None, tags: Vec::new(), limits: Limits::default() };
        let mut translator = Translator::new(Arc::clone(&mapping), params);
        let mut told = |page: &str| {
            let view = translator.read(page.as_bytes());
            let Missing { rules, version } = missing(&view, &mapping);
            (rules.iter().map(|rule| rule.key.clone()).collect::<Vec<_>>(), version.map(|version| version.name.clone()))
        };
        let all = mapping.rules().count();
        let (rules, version) = told(
            "# TYPE rest_client_requests_total counter\nrest_client_requests_total 1\n# TYPE process_open_fds gauge\n\
             process_open_fds 3\n# TYPE kubevirt_virt_api_ready_status gauge\n",
        );
        let told_version = version.as_deref();
        assert_eq!((rules.len(), told_version), (all - 2, Some("KubeVirt 1.2 or earlier")), "metadata is no sample");
        assert!(!rules.contains(&"process_open_fds".to_owned()) && rules.contains(&"process_max_fds".to_owned()));
        let (rules, version) = told(
            "# TYPE kubevirt_rest_client_requests_total counter\nkubevirt_rest_client_requests_total 1\n\
             # TYPE kubevirt_virt_api_ready_status gauge\nkubevirt_virt_api_ready_status 1\n",
        );
        let told_version = version.as_deref();
        assert_eq!((rules.len(), told_version), (all - 3, Some("KubeVirt 1.8.4 or later")), "it was there once");
        assert_eq!(told("up 1\n").1, None);
    }

    #[test]
    fn a_rule_whose_names_were_all_replaced_is_not_missed() {
        let source = |name: &str, rule: &str| crate::mapping::Source {
            name: name.to_owned(),
            text: format!("version: 1\nmetrics: {{ {rule} }}\n"),
        };
        let mapping = Arc::new(Mapping::compile(&[source("a", "x: one"), source("b", "x: two")]).unwrap());
        let params = Params { namespace: None, tags: Vec::new(), limits: Limits::default() };
        let view = Translator::new(Arc::clone(&mapping), params).read(b"# TYPE x gauge\nx 1\n");
        assert!(missing(&view, &mapping).rules.is_empty());
    }
}
