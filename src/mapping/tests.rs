use crate::exposition::family::FamilyType;
use crate::mapping::{Epoch, Find, Mapping, RuleId, Source, builtin};

fn compile(text: &str) -> Result<Mapping, String> {
    let source = Source { name: "m.yaml".to_owned(), text: text.to_owned() };
    Mapping::compile(&[source]).map_err(|problems| problems.to_string())
}

fn rules(lines: &str) -> Mapping {
    compile(&format!("version: 1\nnamespace: ns\nmetrics:\n{lines}\n")).expect("the test's rules are right")
}

/// The name a family gets, or what else becomes of it.
fn found(mapping: &Mapping, family: &str, kind: FamilyType) -> String {
    match mapping.find(family, kind) {
        Find::Mapped(hit) => hit.name,
        Find::Excluded => "(excluded)".to_owned(),
        Find::Unmapped => "(unmapped)".to_owned(),
    }
}

#[test]
fn total_is_optional_on_both_sides_and_the_exact_spelling_wins() {
    let mapping = rules("  a: one\n  b_total: two\n  c: three\n  c_total: four");
    for (family, name) in [
        ("a", "one"),
        ("a_total", "one"),
        ("b", "two"),
        ("b_total", "two"),
        ("c", "three"),
        ("c_total", "four"),
        ("d", "(unmapped)"),
    ] {
        assert_eq!(found(&mapping, family, FamilyType::Counter), name, "{family}");
    }
}

#[test]
fn globs_and_regexes_capture_and_exact_names_beat_them() {
    let mapping = rules(concat!(
        "  \"x_*_y_*\": \"${2}.of.${1}\"\n",
        "  x_a_y_b: exact\n",
        "  \"/z_(?<n>[0-9]+)/\": \"z${1}\"\n",
        "  \"g_*\": \"g.${1}\""
    ));
    assert_eq!(found(&mapping, "x_1_y_2", FamilyType::Gauge), "2.of.1");
    assert_eq!(found(&mapping, "x_a_y_b", FamilyType::Gauge), "exact");
    assert_eq!(found(&mapping, "z_12", FamilyType::Gauge), "z12");
    assert_eq!(found(&mapping, "z_12x", FamilyType::Gauge), "(unmapped)", "regexes are anchored");
    assert_eq!(found(&mapping, "g_bytes_total", FamilyType::Counter), "g.bytes", "no `_total` in a capture");
    assert_eq!(found(&mapping, "g_bytes_total", FamilyType::Gauge), "g.bytes_total", "a gauge's is part of its name");
}

#[test]
fn exclusions_beat_what_is_as_exact_as_they_are() {
    let text = "version: 1\nmetrics:\n  a_b: one\n  a_c: two\n  \"a_*\": \"a.${1}\"\nexclude: [a_b, \"a_*\"]\n";
    let mapping = compile(text).expect("right");
    assert_eq!(found(&mapping, "a_b", FamilyType::Gauge), "(excluded)");
    assert_eq!(found(&mapping, "a_c", FamilyType::Gauge), "two");
    assert_eq!(found(&mapping, "a_d", FamilyType::Gauge), "(excluded)");
}

#[test]
fn aliases_say_which_name_they_are() {
    let mapping = rules("  new: { name: x, aliases: [old, older] }");
    for (family, precedence) in [("new", 0), ("old_total", 1), ("older", 2)] {
        match mapping.find(family, FamilyType::Counter) {
            Find::Mapped(hit) => assert_eq!((hit.name.as_str(), hit.precedence), ("x", precedence)),
            other => panic!("{family}: {other:?}"),
        }
    }
}

#[test]
fn labels_are_rewritten_dropped_renamed_and_added_in_that_order() {
    let mapping = compile(
        r#"
version: 1
metrics:
  a: a
  b:
    name: b
    labels: { rename: { url: address }, drop: [zone] }
labels:
  values:
    url:
      - { match: "https://*/api/v1/*", replace: "/${2}" }
      - { match: "/.*secret.*/", replace: "" }
  drop: ["pod_*"]
  rename: { host: api_host }
  add: { team: virt }
"#,
    )
    .expect("right");
    let labels = [("url", "https://h/api/v1/pods"), ("pod_uid", "1"), ("host", "h"), ("zone", "z"), ("empty", "")];
    let shown = |rule: u32, labels: &[(&str, &str)]| {
        let tags = mapping.labels(RuleId(rule), labels);
        tags.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(0, &labels), "api_host:h team:virt url:/pods zone:z");
    assert_eq!(shown(1, &labels), "address:/pods api_host:h team:virt");
    assert_eq!(shown(0, &[("url", "my secret")]), "team:virt");
}

#[test]
fn every_problem_of_a_file_is_reported_at_once_with_its_place() {
    let text = r#"version: 2
namspace: x
metrics:
  a: { name: b, tpye: gauge }
  "/(/": c
  d: { name: e, type: guage }
  f: "g.${1}"
  h: i.count
  j: { name: one, type: gauge }
  k: { name: one, type: counter }
  l: { name: m, aliases: [a] }
  n:
labels:
  rename: { host: host }
"#;
    let problems = compile(text).expect_err("nearly all of it is wrong");
    for expected in [
        "version 2 is not known",
        "unknown key `namspace`",
        "did you mean `namespace`?",
        "unknown key `tpye`",
        "did you mean `type`?",
        "`/(/` is no regular expression: unclosed group",
        "`guage` is none of",
        "did you mean `gauge`?",
        "`${1}` asks for a capture that is not there",
        "the suffix `.count` comes from the family's type",
        "two rules lead to `one` with different types",
        "`a` has a rule already",
        "`host` is a tag of Datadog's own",
        "--> m.yaml:5:3",
        "expected the metric's name, found nothing",
    ] {
        assert!(problems.contains(expected), "{expected}\n in\n{problems}");
    }
    assert!(problems.contains('^'), "a caret marks the place");
}

#[test]
fn a_later_file_replaces_a_rule_and_may_not_bring_another_namespace() {
    let file = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let base = file("base.yaml", "version: 1\nnamespace: ns\nmetrics: { a: one, b: two }\n");
    let over = file("over.yaml", "version: 1\nmetrics: { a: mine }\n");
    let mapping = Mapping::compile(&[base.clone(), over]).expect("right");
    assert_eq!(mapping.namespace(), Some("ns"));
    assert_eq!(found(&mapping, "a", FamilyType::Gauge), "mine");
    assert_eq!(found(&mapping, "b", FamilyType::Gauge), "two");
    let other = file("other.yaml", "version: 1\nnamespace: other\nmetrics: {}\n");
    let problems = Mapping::compile(&[base, other]).expect_err("two namespaces").to_string();
    assert!(problems.contains("two namespaces in one mapping: `other` and `ns`"), "{problems}");
}

#[test]
fn text_that_is_no_yaml_is_one_problem() {
    let problems = compile("version: 1\nmetrics: [").expect_err("unclosed");
    assert_eq!(problems.matches("error:").count(), 1, "{problems}");
}

fn built_in(names: &[&str]) -> Mapping {
    let sources: Vec<Source> = names.iter().map(|name| builtin::source(name).expect("it is built in")).collect();
    Mapping::compile(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_built_in_mappings_compile_each_and_with_the_go_add_on() {
    for name in builtin::names() {
        built_in(&[name]);
        if name != "go" {
            assert_eq!(built_in(&[name, "go"]).namespace(), Some(name));
        }
    }
    assert!(builtin::source("kubevirt").is_none());
}

#[test]
fn the_integrations_families_have_their_names_before_and_after_the_renames() {
    let api = built_in(&["kubevirt_api"]);
    for (family, kind, name, unit) in [
        ("process_cpu_seconds_total", FamilyType::Counter, "process.cpu_seconds", Some("second")),
        ("process_max_fds", FamilyType::Gauge, "process.max_fds", Some("file")),
        ("process_start_time_seconds", FamilyType::Gauge, "process.start_time_seconds", Some("second")),
        ("rest_client_requests_total", FamilyType::Counter, "rest.client_requests", Some("request")),
        ("kubevirt_rest_client_requests_total", FamilyType::Counter, "rest.client_requests", Some("request")),
        (
            "rest_client_request_latency_seconds",
            FamilyType::Histogram,
            "rest.client_request_latency_seconds",
            Some("second"),
        ),
        ("kubevirt_vnc_active_connections", FamilyType::Gauge, "vnc.active_connections", Some("connection")),
        ("kubevirt_vm_created_total", FamilyType::Counter, "vm.created", None),
        ("kubevirt_vm_created_by_pod_total", FamilyType::Counter, "vm.created", None),
    ] {
        match api.find(family, kind) {
            Find::Mapped(hit) => assert_eq!((hit.name.as_str(), hit.rule.unit.as_deref()), (name, unit), "{family}"),
            other => panic!("{family}: {other:?}"),
        }
    }
}

#[test]
fn the_controllers_instants_are_gauges_and_the_handlers_totals_outlive_it() {
    let rule = |mapping: &Mapping, family: &str| match mapping.find(family, FamilyType::Counter) {
        Find::Mapped(hit) => hit.rule.clone(),
        other => panic!("{family}: {other:?}"),
    };
    let controller = built_in(&["kubevirt_controller"]);
    let instants: Vec<_> = controller.rules().filter(|rule| rule.key.contains("_last_transition_")).collect();
    assert_eq!(instants.len(), 5);
    assert!(instants.iter().all(|rule| rule.kind == Some(FamilyType::Gauge)));
    let handler = built_in(&["kubevirt_handler"]);
    assert_eq!(rule(&handler, "kubevirt_vmi_network_receive_bytes_total").epoch, Epoch::Object);
    assert_eq!(rule(&handler, "kubevirt_workqueue_adds_total").epoch, Epoch::Process);
}

#[test]
fn the_built_in_mappings_hold_as_many_of_the_integrations_families_as_it_documents() {
    // The integration's maps hold 12, 23 and 40 families that yield metrics; its `kubevirt_info` yields none. Ours add
    // seven of virt-api's own.
    for (name, families) in [("kubevirt_api", 12 + 7), ("kubevirt_controller", 23), ("kubevirt_handler", 40)] {
        assert_eq!(built_in(&[name]).rules().count(), families, "{name}");
    }
}
