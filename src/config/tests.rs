use std::path::Path;
use std::time::Duration;

use crate::config::discovery::{Discovery, Group, Pods};
use crate::config::env::Env;
use crate::config::flags::{Flags, TargetFlags};
use crate::config::target::HealthUrl;
use crate::config::url::mask_url;
use crate::config::{Config, File, listen_addresses};
use crate::datadog::Key;
use crate::payload::Encoding;
use crate::push::On;
use crate::targets::Found;
use crate::targets::pods::Port;

const EXAMPLE: &str = include_str!("../../examples/promdog.yaml");
const COMPOSE: &str = include_str!("../../deploy/compose/promdog.yaml");
const MANUAL: &str = include_str!("../../docs/configuration.md");

fn load(text: &str, env: &[(&str, &str)], flags: &Flags) -> Result<Config, String> {
    let env = Env::of(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let file = File { name: "promdog.yaml", text, folder: Path::new("/etc/promdog") };
    Config::load(Some(file), flags, &env).map_err(|problems| problems.to_string())
}

fn of(text: &str) -> Config {
    load(text, &[], &Flags::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_least_configuration_has_working_defaults() {
    let config = of("targets: [{ url: https://virt-api:8443/metrics }]");
    let target = &config.targets[0].target;
    assert_eq!((target.name.as_str(), target.mappings.as_slice()), ("virt-api:8443", &["kubevirt_api".to_owned()][..]));
    assert_eq!(
        target.scrape_params(Some("/healthz")).health_url.map(String::from),
        Some("https://virt-api:8443/healthz".to_owned())
    );
    assert_eq!(target.tags(), [("endpoint".to_owned(), "https://virt-api:8443/metrics".to_owned())]);
    assert_eq!((config.push.every, config.web.max_age), (Duration::from_secs(15), Duration::from_secs(5)));
    assert!(config.datadog.sender_params(&config.push).is_empty(), "no key, no push");
    assert!(!config.kubernetes.counts_machines(), "no cluster, no inventory");
}

#[test]
fn the_example_holds_the_defaults_and_every_key_is_in_it_and_in_the_manual() {
    let example = of(EXAMPLE);
    let least = of("targets: [{ name: virt-api, url: https://virt-api.kubevirt.svc:443/metrics }]");
    assert_eq!(format!("{:?}", example.push), format!("{:?}", least.push));
    assert_eq!(format!("{:?}", example.web), format!("{:?}", least.web));
    assert_eq!(format!("{:?}", example.datadog), format!("{:?}", least.datadog));
    assert_eq!(format!("{:?}", example.kubernetes), format!("{:?}", least.kubernetes));
    assert_eq!(format!("{:?}", example.targets[0].target.limits), format!("{:?}", least.targets[0].target.limits));
    let reader = concat!(include_str!("read.rs"), include_str!("read/target.rs"));
    let keys = ["optional(\"", "required(\"", "&mut fields, \"", "section(fields, \""];
    let keys = keys.iter().flat_map(|start| reader.split(start).skip(1)).filter_map(|rest| rest.split('"').next());
    let keys: Vec<&str> = keys.filter(|key| !matches!(*key, "password" | "api_key")).collect();
    assert!(keys.len() > 50);
    for key in keys {
        assert!(EXAMPLE.contains(&format!("{key}:")), "the example lacks `{key}`");
        assert!(MANUAL.contains(&format!("`{key}`")), "the manual lacks `{key}`");
    }
}

#[test]
fn the_compose_projects_configuration_is_right() {
    let config = of(COMPOSE);
    assert!(matches!(config.targets[0].discovery, Some(Discovery::Dns(_))));
    assert!(config.kubernetes.counts_machines());
}

const CLUSTER: &str = include_str!("../../deploy/kubernetes/base/promdog.yaml");

#[test]
fn the_clusters_configuration_is_right() {
    let config = of(CLUSTER);
    let names: Vec<&str> = config.targets.iter().map(|group| group.target.name.as_str()).collect();
    assert_eq!(names, ["virt-api", "virt-controller", "virt-handler"]);
    assert!(config.kubernetes.counts_machines());
}

#[test]
fn pods_of_kubevirt_need_a_selector_and_nothing_else() {
    let config = of("targets: [{ kubernetes: { selector: kubevirt.io=virt-handler } }]");
    let Group { target, discovery: Some(Discovery::Pods(pods)) } = &config.targets[0] else { panic!("{config:?}") };
    assert_eq!(target.name, "virt-handler");
    assert_eq!(target.tls.server_name.as_deref(), Some("virt-handler.kubevirt.svc"));
    let Pods { namespace, pull, ca, .. } = pods;
    assert_eq!((namespace.as_str(), &pull.port, pull.scheme.as_str()), ("kubevirt", &Port::Number(8443), "https"));
    assert_eq!(ca.as_ref().map(|ca| (ca.name.as_str(), ca.key.as_str())), Some(("kubevirt-ca", "ca-bundle")));

    let of_pods = |rest: &str| {
        let config = of(&format!("targets: [{{ kubernetes: {{ selector: a=b, namespace: x, {rest} }} }}]"));
        match config.targets.into_iter().next() {
            Some(Group { target, discovery: Some(Discovery::Pods(pods)) }) => (target, pods),
            group => panic!("{group:?}"),
        }
    };
    let (target, pods) = of_pods("port: web, scheme: http");
    assert_eq!((target.name.as_str(), &target.tls.server_name, &pods.ca), ("a=b", &None, &None));
    assert_eq!(pods.pull.port, Port::Name("web".to_owned()));
    let (target, pods) = of_pods("server_name: s.svc } , tls: { insecure_skip_verify: true");
    assert_eq!((target.tls.server_name.as_deref(), pods.ca), (Some("s.svc"), None), "who trusts blindly needs no CA");
}

#[test]
fn a_target_that_was_found_is_named_after_its_group() {
    let config = of("targets: [{ name: g, kubernetes: { selector: a=b }, tags: ['team:x'], host: h }]");
    let found = Found {
        id: "u".to_owned(),
        name: "pod-1".to_owned(),
        url: "https://10.0.0.1:8443/metrics".parse().expect("a URL"),
        kube_namespace: Some("kubevirt".to_owned()),
        pod_name: Some("pod-1".to_owned()),
        tags: vec![("kube_node".to_owned(), "n1".to_owned())],
        host: None,
    };
    let target = config.targets[0].target.at_found(&found);
    assert_eq!((target.name.as_str(), target.host.as_deref()), ("g/pod-1", Some("h")));
    let tags: Vec<String> = target.tags().iter().map(|(key, value)| format!("{key}:{value}")).collect();
    assert_eq!(
        tags,
        [
            "endpoint:https://10.0.0.1:8443/metrics",
            "kube_namespace:kubevirt",
            "pod_name:pod-1",
            "team:x",
            "kube_node:n1"
        ]
    );
    let config = of("targets: [{ files: { paths: [a.json, '/b/*.yaml'] } }, { dns: { name: h, scheme: https } }]");
    let Some(Discovery::Files(files)) = &config.targets[0].discovery else { panic!("{config:?}") };
    assert_eq!(files.paths, [Path::new("/etc/promdog/a.json"), Path::new("/b/*.yaml")]);
    let Group { target, discovery: Some(Discovery::Dns(dns)) } = &config.targets[1] else { panic!("{config:?}") };
    assert_eq!((dns.port, target.tls.server_name.as_deref(), target.name.as_str()), (443, Some("h"), "h"));
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = r"
targets:
  - { url: https://user:secret@h/metrics, nmae: x }
  - { url: http://h/metrics, tls: { cert_file: a }, tags: [bare, 'host:x'], timeout: 0 }
  - { name: none }
  - { url: http://h/metrics, dns: { name: h, port: 70000 } }
  - { kubernetes: { namespace: K_8, selectr: a=b }, health_url: http://h/healthz }
  - { url: http://h/metrics, basic_auth: { username: u, password: p }, first_value: allways }
push: { every: 0, min_spacing: 2s }
datadog: { api_key: abcdef, site: https://datadoghq.eu }
kubernetes: { kubeconfig: a, url: http://h, page_size: 0, by: [size, phases] }
webb: {}
";
    let problems = load(text, &[], &Flags::default()).expect_err("all of it is wrong");
    for expected in [
        "no user or password in a URL",
        "unknown key `nmae`",
        "did you mean `name`?",
        "`cert_file` and `key_file` belong together",
        "a tag is `key:value`",
        "`host` is no tag here",
        "this may not be 0",
        "no password in this file",
        "did you mean `always`?",
        "from 1 to 3600",
        "`min_spacing` means something only with `on: pull`",
        "no API key in this file",
        "is no Datadog site",
        "`kubeconfig` and `url` exclude each other",
        "a page holds from 1 to 10000 objects",
        "unknown key `webb`",
        "nothing says what to pull",
        "one of these keys is enough",
        "a port is from 0 to 65535",
        "no name of a namespace",
        "did you mean `selector`?",
        "one URL is not the health of many",
        "`by` means something only with",
        "did you mean `phase`?",
        "did you mean `web`?",
        "two targets are named `h:80`",
    ] {
        assert!(problems.contains(expected), "{expected}\n in\n{problems}");
    }
    assert!(!problems.contains("secret@") && !problems.contains("abcdef"), "{problems}");
}

#[test]
fn the_official_client_sends_no_protobuf() {
    let text = |client: &str, encoding: &str| {
        format!(
            "targets: [{{ url: http://h/metrics }}]\npush: {{ client: {client} }}\ndatadog: {{ encoding: {encoding} }}\n"
        )
    };
    for (client, encoding) in [("own", "protobuf"), ("official", "json")] {
        of(&text(client, encoding));
    }
    assert_eq!(of(&text("own", "protobuf")).push_params().encoding, Encoding::Protobuf);
    let problems = load(&text("official", "protobuf"), &[], &Flags::default()).expect_err("it cannot");
    assert!(problems.contains("`push.client: official` sends JSON only"), "{problems}");
}

#[test]
fn no_target_is_a_mistake() {
    let problems = Config::load(None, &Flags::default(), &Env::default()).expect_err("no target");
    assert!(problems.to_string().contains("no target: give `--target URL`"));
}

#[test]
fn the_environment_wins_over_the_file_and_empty_counts_as_unset() {
    let text = "targets: [{ url: http://h/metrics }]\ndatadog: { site: datadoghq.eu, env: file }\npush: { tags: ['team:virt'] }";
    let env = [
        ("DD_API_KEY", "k"),
        ("DD_SITE", "us5.datadoghq.com"),
        ("DD_ENV", "prod"),
        ("DD_TAGS", "a:b c:d,_e"),
        ("DD_CLUSTER_NAME", "c1"),
        ("DD_URL", " "),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("DD_PROXY_HTTPS", "dd-proxy:3128"),
        ("NO_PROXY", "internal"),
    ];
    let config = load(text, &env, &Flags::default()).expect("right");
    let [sender] = &config.datadog.sender_params(&config.push)[..] else { panic!("one endpoint") };
    assert_eq!(sender.endpoint.as_str(), "https://api.us5.datadoghq.com/");
    let proxy = sender.proxy.as_ref().expect("a proxy");
    assert_eq!((proxy.url.host_str(), proxy.no_proxy.as_str()), (Some("dd-proxy"), "internal"));
    assert_eq!(
        config.push_tags(),
        ["a:b", "c:d", "cluster_name:c1", "e", "env:prod", "kube_cluster_name:c1", "team:virt"]
    );
    assert!(!format!("{config:?}").contains("\"k\""), "the key is not printed");
    let gateway =
        load(text, &[&env[..], &[("DD_URL", "http://gateway:8080")]].concat(), &Flags::default()).expect("right");
    assert!(gateway.datadog.sender_params(&gateway.push)[0].proxy.is_none(), "no https, no proxy for it");
}

#[test]
fn more_endpoints_have_names_and_keys_of_their_own() {
    let text = "targets: [{ url: http://h/metrics }]\ndatadog: { api_key_file: k, additional_endpoints: [\
                { site: datadoghq.eu, api_key_file: eu }, { url: 'http://h:8080/x', api_key_file: /o }] }";
    let config = load(text, &[], &Flags::default()).expect("right");
    let endpoints = config.datadog.sender_params(&config.push);
    let shown: Vec<(&str, &str)> =
        endpoints.iter().map(|params| (params.name.as_str(), params.endpoint.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("api.datadoghq.com", "https://api.datadoghq.com/"),
            ("api.datadoghq.eu", "https://api.datadoghq.eu/"),
            ("h:8080", "http://h:8080/x")
        ]
    );
    assert!(matches!(&endpoints[1].key, Key::File(path) if path == Path::new("/etc/promdog/eu")));
    let agents = r#"{"https://app.datadoghq.eu": ["a", "b"]}"#;
    let config = load(text, &[("DD_ADDITIONAL_ENDPOINTS", agents)], &Flags::default()).expect("right");
    let endpoints = config.datadog.sender_params(&config.push);
    let names: Vec<&str> = endpoints.iter().map(|params| params.name.as_str()).collect();
    assert_eq!(names, ["api.datadoghq.com", "api.datadoghq.eu", "api.datadoghq.eu#2"]);
    let problems = load(text, &[("DD_ADDITIONAL_ENDPOINTS", "{secret")], &Flags::default()).expect_err("no JSON");
    assert!(problems.contains("this is JSON such as") && !problems.contains("secret"), "{problems}");
}

#[test]
fn a_target_of_the_command_line_replaces_those_of_the_file() {
    let target = TargetFlags {
        url: "https://127.0.0.1:8443/metrics".to_owned(),
        health_url: Some("off".to_owned()),
        ..TargetFlags::default()
    };
    let flags = Flags { target: Some(target), listen_address: Some("127.0.0.1:0".to_owned()), ..Flags::default() };
    let config = load("targets: [{ url: http://h/metrics }]", &[], &flags).expect("right");
    assert_eq!(config.targets.len(), 1);
    assert_eq!((config.targets[0].target.url.port(), &config.targets[0].target.health), (Some(8443), &HealthUrl::Off));
    assert_eq!(config.web.listen, ["127.0.0.1:0".parse().expect("an address")]);
}

#[test]
fn files_are_relative_to_the_configuration() {
    let config = of(
        "targets: [{ url: http://h/metrics, mapping: [kubevirt_api, mine.yaml], tls: { ca_file: ca.pem } }]\npush: { on: pull, min_spacing: 2s }",
    );
    let target = &config.targets[0].target;
    assert_eq!(target.mappings, ["kubevirt_api", "/etc/promdog/mine.yaml"]);
    assert_eq!(target.tls.ca_file.as_deref(), Some(Path::new("/etc/promdog/ca.pem")));
    assert_eq!(config.push.on, On::Pull { min_spacing: Duration::from_secs(2) });
}

#[test]
fn urls_are_shown_without_secrets() {
    let shown = |text: &str| mask_url(&text.parse().expect("a URL"));
    assert_eq!(shown("https://u:p@h:1/metrics?a=b&Access_Token=x#f"), "https://h:1/metrics?a=b&Access_Token=***");
    assert_eq!(shown("https://h/metrics?q=%20"), "https://h/metrics?q=%20", "left alone where nothing is secret");
}

#[test]
fn addresses_to_listen_on_may_lack_a_host() {
    assert_eq!(listen_addresses(":0").expect("right").len(), 2);
    assert!(listen_addresses("10045").is_err());
}
