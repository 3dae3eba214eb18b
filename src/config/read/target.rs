//! `targets:` of the configuration file.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::{path, section, set, strings, url, wait};
use crate::cluster::ca;
use crate::config::discovery::{Discovery, Group, Pods};
use crate::config::target::{HealthUrl, Target, TargetLimits};
use crate::delta::FirstValue;
use crate::scrape::Auth;
use crate::targets::pods::Port;
use crate::targets::{dns, files, pods};
use crate::tls;
use crate::yaml::node::{Fields, Node};

/// The key of KubeVirt's CA in its ConfigMap.
const CA_KEY: &str = "ca-bundle";
/// What says where targets are.
const SOURCES: [&str; 4] = ["url", "kubernetes", "dns", "files"];

/// One entry.
pub(super) fn group(node: Node<'_>) -> Option<Group> {
    let mut fields = node.fields()?;
    let mut target = Target::at(Url::parse("http://localhost/metrics").ok()?);
    let mut discovery = None;
    let found: Vec<&str> = SOURCES.into_iter().filter(|key| fields.key(key).is_some()).collect();
    if found.len() != 1 {
        let title = if found.is_empty() { "nothing says what to pull" } else { "one of these keys is enough" };
        node.refuse(title, "a target has `url`, `kubernetes`, `dns` or `files`");
    }
    if let Some(url) = fields.optional("url").and_then(url) {
        target = Target::at(url);
    }
    section(&mut fields, "kubernetes", |fields| discovery = kubernetes(fields, &mut target));
    section(&mut fields, "dns", |fields| discovery = dns(fields, &mut target));
    section(&mut fields, "files", |fields| discovery = files(fields, &mut target));
    set(&mut target.name, fields.optional("name").and_then(Node::string));
    if let Some(node) = fields.optional("health_url") {
        let off = node.string().is_some_and(|text| text == "off");
        if !off && found != ["url"] {
            node.refuse("one URL is not the health of many", "only `off` is possible here");
        }
        set(&mut target.health, if off { Some(HealthUrl::Off) } else { url(node).map(HealthUrl::Url) });
    }
    set(&mut target.mappings, fields.optional("mapping").map(strings).filter(|mappings| !mappings.is_empty()));
    target.namespace = fields.optional("namespace").and_then(Node::string);
    target.endpoint = fields.optional("endpoint").and_then(Node::string);
    target.kube_namespace = fields.optional("kube_namespace").and_then(Node::string);
    target.pod_name = fields.optional("pod_name").and_then(Node::string);
    set(&mut target.tags, fields.optional("tags").map(tags));
    target.host = fields.optional("host").and_then(Node::string);
    set(&mut target.timeout, fields.optional("timeout").and_then(wait));
    let words = [("prove", FirstValue::Prove), ("always", FirstValue::Always), ("never", FirstValue::Never)];
    set(&mut target.first_value, fields.optional("first_value").and_then(|node| node.word(&words)));
    section(&mut fields, "tls", |fields| tls_params(fields, &mut target.tls));
    if let Some(Discovery::Pods(pods)) = &mut discovery
        && (target.tls.ca_file.is_some() || target.tls.insecure_skip_verify)
    {
        pods.ca = None;
    }
    section(&mut fields, "limits", |fields| limits(fields, &mut target.limits));
    authentication(&mut fields, &mut target.auth);
    if let Some(entries) = fields.optional("headers").and_then(Node::map) {
        for (key, node) in entries {
            let name = HeaderName::try_from(key.text()).map_err(|_| key.refuse("no name of a header", "")).ok();
            let value = node
                .string()
                .and_then(|text| HeaderValue::try_from(text).map_err(|_| node.refuse("no value of a header", "")).ok());
            target.headers.extend(name.zip(value));
        }
    }
    fields.done();
    Some(Group { target, discovery })
}

/// `kubernetes:`; what it says of the certificates goes into the target.
fn kubernetes(fields: &mut Fields<'_>, target: &mut Target) -> Option<Discovery> {
    let namespace = match fields.optional("namespace") {
        None => Some("kubevirt".to_owned()),
        Some(node) => node.string().filter(|name| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let good = !name.is_empty() && name.bytes().all(plain);
            if !good {
                node.refuse("no name of a namespace", "");
            }
            good
        }),
    };
    let selector = fields.required("selector").and_then(Node::string);
    let mut port = Port::Number(8443);
    if let Some(node) = fields.optional("port") {
        port = node.string().map_or(port, |text| text.parse().map_or(Port::Name(text), Port::Number));
    }
    let scheme = scheme(fields).unwrap_or("https");
    let path = path_of(fields);
    let server_name = fields.optional("server_name").and_then(Node::string);
    let ca = fields.optional("ca").and_then(Node::string).unwrap_or_else(|| "kubevirt-ca".to_owned());
    let node_as_host = fields.optional("node_as_host").and_then(Node::bool).unwrap_or(false);
    let (namespace, selector) = (namespace?, selector?);
    // KubeVirt's certificates are for its Services, and for no address.
    let component = selector.strip_prefix("kubevirt.io=").filter(|rest| !rest.contains([',', '=']));
    target.tls.server_name = server_name.or_else(|| component.map(|name| format!("{name}.{namespace}.svc")));
    target.name = component.unwrap_or(&selector).to_owned();
    let ca = (scheme == "https").then(|| ca::Place { namespace: namespace.clone(), name: ca, key: CA_KEY.to_owned() });
    let pull = pods::Params { scheme: scheme.to_owned(), port, path, node_as_host };
    Some(Discovery::Pods(Pods { namespace, selector, pull, ca }))
}

fn dns(fields: &mut Fields<'_>, target: &mut Target) -> Option<Discovery> {
    let name = fields.required("name").and_then(Node::string);
    let scheme = scheme(fields).unwrap_or("http");
    let mut port = if scheme == "https" { 443 } else { 80 };
    if let Some(node) = fields.optional("port") {
        match node.u64().map(u16::try_from) {
            Some(Ok(given)) => port = given,
            Some(Err(_)) => node.refuse("a port is from 0 to 65535", ""),
            None => {}
        }
    }
    let path = path_of(fields);
    let every = fields.optional("every").and_then(wait).unwrap_or(Duration::from_secs(30));
    let name = name?;
    target.name.clone_from(&name);
    target.tls.server_name = Some(name.clone()).filter(|_| scheme == "https");
    Some(Discovery::Dns(dns::Params { name, port, scheme: scheme.to_owned(), path, every }))
}

fn files(fields: &mut Fields<'_>, target: &mut Target) -> Option<Discovery> {
    let paths = fields.required("paths").map(strings);
    let scheme = scheme(fields).unwrap_or("http").to_owned();
    let path = path_of(fields);
    let every = fields.optional("every").and_then(wait).unwrap_or(Duration::from_secs(10));
    let paths: Vec<PathBuf> = paths?.into_iter().map(Into::into).collect();
    "files".clone_into(&mut target.name);
    Some(Discovery::Files(files::Params { paths, scheme, path, every }))
}

fn scheme(fields: &mut Fields<'_>) -> Option<&'static str> {
    fields.optional("scheme").and_then(|node| node.word(&[("https", "https"), ("http", "http")]))
}

fn path_of(fields: &mut Fields<'_>) -> String {
    fields.optional("path").and_then(Node::string).unwrap_or_else(|| "/metrics".to_owned())
}

fn tls_params(fields: &mut Fields<'_>, tls: &mut tls::ClientParams) {
    tls.ca_file = fields.optional("ca_file").and_then(path);
    tls.cert_file = fields.optional("cert_file").and_then(path);
    tls.key_file = fields.optional("key_file").and_then(path);
    set(&mut tls.server_name, fields.optional("server_name").and_then(Node::string).map(Some));
    set(&mut tls.insecure_skip_verify, fields.optional("insecure_skip_verify").and_then(Node::bool));
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        fields.node().refuse("`cert_file` and `key_file` belong together", "one of them is missing");
    }
}

fn limits(fields: &mut Fields<'_>, limits: &mut TargetLimits) {
    let TargetLimits { compressed_bytes, decompressed_bytes, translate } = limits;
    set(compressed_bytes, fields.optional("compressed_bytes").and_then(Node::bytes));
    set(decompressed_bytes, fields.optional("decompressed_bytes").and_then(Node::bytes));
    let size = |node: Node<'_>| node.bytes().and_then(|size| usize::try_from(size).ok());
    set(&mut translate.samples, fields.optional("samples").and_then(size));
    set(&mut translate.line_bytes, fields.optional("line_bytes").and_then(size));
    set(&mut translate.labels, fields.optional("labels").and_then(size));
    set(&mut translate.label_name_bytes, fields.optional("label_name_bytes").and_then(size));
    set(&mut translate.label_value_bytes, fields.optional("label_value_bytes").and_then(size));
}

fn authentication(fields: &mut Fields<'_>, auth: &mut Auth) {
    let bearer = fields.optional("bearer_token_file").and_then(path);
    let mut basic = None;
    section(fields, "basic_auth", |fields| {
        let username = fields.required("username").and_then(Node::string);
        if let Some(key) = fields.key("password") {
            key.refuse("no password in this file", "name a `password_file`");
            let _told = fields.optional("password");
        } else {
            let password_file = fields.required("password_file").and_then(path);
            basic = username.zip(password_file);
        }
    });
    match (basic, bearer) {
        (Some(_), Some(_)) => fields.node().refuse("`basic_auth` and `bearer_token_file` exclude each other", ""),
        (Some((username, password_file)), None) => *auth = Auth::Basic { username, password_file },
        (None, Some(file)) => *auth = Auth::BearerFile(file),
        (None, None) => {}
    }
}

fn tags(node: Node<'_>) -> Vec<(String, String)> {
    let pair = |node: Node<'_>| {
        let text = node.string()?;
        match text.split_once(':') {
            Some(("host", _)) => {
                node.refuse("`host` is no tag here", "use the key `host:` of the target");
                None
            }
            Some((key, value)) if !key.is_empty() && !value.is_empty() => Some((key.to_owned(), value.to_owned())),
            Some(_) | None => {
                node.refuse("a tag is `key:value`", "");
                None
            }
        }
    };
    node.list().unwrap_or_default().into_iter().filter_map(pair).collect()
}
