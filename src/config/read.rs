//! The configuration file's keys, then the environment, then the command line.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use crate::config::datadog::{Additional, Datadog, endpoint_of};
use crate::config::discovery::{Discovery, Group};
use crate::config::env::Env;
use crate::config::flags::{Flags, TargetFlags};
use crate::config::kubernetes::{Inventory, Kubernetes};
use crate::config::target::{HealthUrl, Target};
use crate::config::url::parse;
use crate::config::{Config, File, Log, Push, State, Web, listen_addresses};
use crate::datadog::{Client, Key, Proxy};
use crate::payload::Encoding;
use crate::push::{On, ZeroIncreases};
use crate::scrape::Auth;
use crate::telemetry::Format;
use crate::translate::counts::{By, Detail};
use crate::yaml::Document;
use crate::yaml::node::{Fields, Node};
use crate::yaml::problem::Problems;

mod target;

pub(super) fn load(file: Option<File<'_>>, flags: &Flags, env: &Env) -> Result<Config, Problems> {
    let document = Document::parse(file.map_or("configuration", |file| file.name), file.map_or("", |file| file.text));
    let mut config = read(&document);
    let mut problems = document.problems();
    if let Some(File { folder, .. }) = file {
        resolve(&mut config, folder);
    }
    let mut complain = |place: &str, text: String| problems.extend(Problems::without_place(place, text));
    environment(&mut config, env, &mut complain);
    command_line(&mut config, flags, &mut complain);
    if config.targets.is_empty() && problems.is_empty() {
        let title = "no target: give `--target URL`, or `targets:` in a file named by `--config.file`";
        problems.extend(Problems::without_place("configuration", title));
    }
    problems.or_value(Some(config))
}

fn read(document: &Document) -> Config {
    let mut config = Config {
        web: Web { listen: listen_addresses(":10045").unwrap_or_default(), max_age: Duration::from_secs(5) },
        targets: Vec::new(),
        push: Push {
            every: Duration::from_secs(15),
            on: On::Grid,
            client: Client::Own,
            dry_run: false,
            zero_increases: ZeroIncreases::Send,
            tags: Vec::new(),
        },
        datadog: Datadog::default(),
        kubernetes: Kubernetes::default(),
        state: State { dir: None, lock_timeout: Duration::from_secs(30) },
        log: Log { level: "info".to_owned(), format: Format::Text },
    };
    let Some(mut fields) = document.root().fields() else { return config };
    section(&mut fields, "web", |fields| web(fields, &mut config.web));
    if let Some(nodes) = fields.optional("targets").and_then(Node::list) {
        config.targets = nodes.into_iter().filter_map(target::group).collect();
        names_differ(document, &config.targets);
    }
    section(&mut fields, "push", |fields| push(fields, &mut config.push));
    section(&mut fields, "datadog", |fields| datadog(fields, &mut config.datadog, config.push.client));
    section(&mut fields, "kubernetes", |fields| kubernetes(fields, &mut config.kubernetes));
    section(&mut fields, "state", |fields| state(fields, &mut config.state));
    section(&mut fields, "log", |fields| {
        set(&mut config.log.level, fields.optional("level").and_then(Node::string));
        let words = [("text", Format::Text), ("json", Format::Json)];
        set(&mut config.log.format, fields.optional("format").and_then(|node| node.word(&words)));
    });
    fields.done();
    config
}

fn section<'d>(fields: &mut Fields<'d>, key: &'static str, read: impl FnOnce(&mut Fields<'d>)) {
    if let Some(mut inner) = fields.optional(key).and_then(Node::fields) {
        read(&mut inner);
        inner.done();
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn web(fields: &mut Fields<'_>, web: &mut Web) {
    if let Some(node) = fields.optional("listen_address")
        && let Some(text) = node.string()
    {
        set(&mut web.listen, listen_addresses(&text).map_err(|problem| node.refuse(problem, "")).ok());
    }
    set(&mut web.max_age, fields.optional("max_age").and_then(Node::seconds));
}

fn url(node: Node<'_>) -> Option<Url> {
    parse(&node.string()?).map_err(|problem| node.refuse(problem, "")).ok()
}

fn path(node: Node<'_>) -> Option<std::path::PathBuf> {
    node.string().map(Into::into)
}

/// A time of at least a millisecond.
fn wait(node: Node<'_>) -> Option<Duration> {
    let wait = node.seconds()?;
    if wait < Duration::from_millis(1) {
        node.refuse("this may not be 0", "");
    }
    Some(wait)
}

fn strings(node: Node<'_>) -> Vec<String> {
    if node.is_list() {
        return node.list().unwrap_or_default().into_iter().filter_map(Node::string).collect();
    }
    node.string()
        .unwrap_or_default()
        .split(',')
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

fn names_differ(document: &Document, targets: &[Group]) {
    for (at, target) in targets.iter().enumerate() {
        if targets[..at].iter().any(|other| other.target.name == target.target.name) {
            document
                .start()
                .refuse(format!("two targets are named `{}`", target.target.name), "give each a `name:` of its own");
        }
    }
}

fn push(fields: &mut Fields<'_>, push: &mut Push) {
    if let Some(node) = fields.optional("every")
        && let Some(every) = node.seconds()
    {
        if every.subsec_nanos() != 0 || !(1..=3600).contains(&every.as_secs()) {
            node.refuse("`every` is a whole number of seconds, from 1 to 3600", "");
        }
        push.every = every;
    }
    let spacing = fields.optional("min_spacing").and_then(wait);
    let on_pull = fields.optional("on").and_then(|node| node.word(&[("grid", false), ("pull", true)])).unwrap_or(false);
    if on_pull {
        push.on = On::Pull { min_spacing: spacing.unwrap_or(Duration::from_secs(1)) };
    } else if let (Some(_), Some(key)) = (spacing, fields.key("min_spacing")) {
        key.refuse("`min_spacing` means something only with `on: pull`", "");
    }
    let words = [("own", Client::Own), ("official", Client::Official)];
    set(&mut push.client, fields.optional("client").and_then(|node| node.word(&words)));
    let words = [("send", ZeroIncreases::Send), ("omit", ZeroIncreases::Omit)];
    set(&mut push.zero_increases, fields.optional("zero_increases").and_then(|node| node.word(&words)));
    set(&mut push.tags, fields.optional("tags").map(strings));
}

fn datadog(fields: &mut Fields<'_>, datadog: &mut Datadog, client: Client) {
    if let Some(node) = fields.optional("site")
        && let Some(site) = node.string()
    {
        set(&mut datadog.site, site_name(&site).map_err(|problem| node.refuse(problem, "")).ok());
    }
    datadog.url = fields.optional("url").and_then(url);
    if let Some(key) = fields.key("api_key") {
        key.refuse("no API key in this file", "set DD_API_KEY, or name an `api_key_file`");
        let _told = fields.optional("api_key");
    }
    datadog.key = fields.optional("api_key_file").and_then(path).map(Key::File);
    datadog.env = fields.optional("env").and_then(Node::string);
    datadog.cluster_name = fields.optional("cluster_name").and_then(Node::string);
    let words = [("json", Encoding::Json), ("protobuf", Encoding::Protobuf)];
    set(&mut datadog.encoding, fields.optional("encoding").and_then(|node| node.word(&words)));
    if let (Encoding::Protobuf, Client::Official, Some(key)) = (datadog.encoding, client, fields.key("encoding")) {
        key.refuse("`push.client: official` sends JSON only", "leave one of the two out");
    }
    set(&mut datadog.timeout, fields.optional("timeout").and_then(wait));
    set(
        &mut datadog.queue_max_bytes,
        fields.optional("queue_max_bytes").and_then(Node::bytes).and_then(|size| usize::try_from(size).ok()),
    );
    set(&mut datadog.queue_max_age, fields.optional("queue_max_age").and_then(wait));
    section(fields, "proxy", |fields| {
        let https = fields.required("https").and_then(url);
        let no_proxy = fields.optional("no_proxy").and_then(Node::string).unwrap_or_default();
        datadog.proxy = https.map(|url| Proxy { url, no_proxy });
    });
    datadog.ca_file = fields.optional("ca_file").and_then(path);
    for node in fields.optional("additional_endpoints").and_then(Node::list).unwrap_or_default() {
        datadog.additional.extend(additional_endpoint(node));
    }
}

fn additional_endpoint(node: Node<'_>) -> Option<Additional> {
    let mut fields = node.fields()?;
    let site = fields.optional("site").and_then(|node| {
        let site = site_name(&node.string()?).map_err(|problem| node.refuse(problem, "")).ok()?;
        endpoint_of(&site)
    });
    let url = fields.optional("url").and_then(url);
    let key = fields.required("api_key_file").and_then(path).map(Key::File);
    if site.is_some() == url.is_some() {
        node.refuse("an endpoint has a `site` or a `url`", "");
    }
    fields.done();
    Some(Additional { endpoint: site.or(url)?, key: key? })
}

fn state(fields: &mut Fields<'_>, state: &mut State) {
    state.dir = fields.optional("dir").and_then(path);
    set(&mut state.lock_timeout, fields.optional("lock_timeout").and_then(Node::seconds));
}

fn site_name(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    let bare = !text.contains("://") && !text.contains('/') && text.contains('.');
    if !bare {
        return Err(format!(
            "`{text}` is no Datadog site; one is `datadoghq.com`, `datadoghq.eu` or `us5.datadoghq.com`"
        ));
    }
    Ok(text.strip_prefix("app.").or_else(|| text.strip_prefix("api.")).unwrap_or(text).to_owned())
}

fn kubernetes(fields: &mut Fields<'_>, kubernetes: &mut Kubernetes) {
    let words = [("on", Inventory::On), ("off", Inventory::Off), ("auto", Inventory::Auto)];
    set(&mut kubernetes.inventory, fields.optional("inventory").and_then(|node| node.word(&words)));
    kubernetes.kubeconfig = fields.optional("kubeconfig").and_then(path);
    kubernetes.url = fields.optional("url").and_then(url);
    kubernetes.token_file = fields.optional("token_file").and_then(path);
    kubernetes.ca_file = fields.optional("ca_file").and_then(path);
    set(&mut kubernetes.insecure_skip_verify, fields.optional("insecure_skip_verify").and_then(Node::bool));
    if let Some(node) = fields.optional("page_size")
        && let Some(size) = node.u64()
    {
        let size = u32::try_from(size).ok().filter(|size| (1..=10_000).contains(size));
        if size.is_none() {
            node.refuse("a page holds from 1 to 10000 objects", "");
        }
        set(&mut kubernetes.page_size, size);
    }
    set(&mut kubernetes.keep, fields.optional("keep").and_then(Node::seconds));
    set(&mut kubernetes.timeout, fields.optional("timeout").and_then(wait));
    let words = [("object", Detail::Object), ("namespace", Detail::Namespace), ("cluster", Detail::Cluster)];
    set(&mut kubernetes.counts.detail, fields.optional("detail").and_then(|node| node.word(&words)));
    if let Some(node) = fields.optional("by") {
        let words = [("phase", By::Phase), ("node", By::Node), ("size", By::Size), ("domain", By::Domain)];
        kubernetes.counts.by =
            node.list().unwrap_or_default().into_iter().filter_map(|node| node.word(&words)).collect();
        if let (Detail::Object, Some(key)) = (kubernetes.counts.detail, fields.key("by")) {
            key.refuse("`by` means something only with `detail: namespace` or `detail: cluster`", "");
        }
    }
    if let (Some(_), Some(_), Some(key)) = (&kubernetes.kubeconfig, &kubernetes.url, fields.key("kubeconfig")) {
        key.refuse("`kubeconfig` and `url` exclude each other", "");
    }
}

fn resolve(config: &mut Config, folder: &Path) {
    for group in &mut config.targets {
        group.target.resolve(folder);
        if let Some(Discovery::Files(files)) = &mut group.discovery {
            files.paths.iter_mut().for_each(|path| *path = folder.join(&*path));
        }
    }
    let Kubernetes { kubeconfig, token_file, ca_file, .. } = &mut config.kubernetes;
    let Datadog { ca_file: datadog_ca, key, additional, .. } = &mut config.datadog;
    for path in [kubeconfig, token_file, ca_file, datadog_ca, &mut config.state.dir].into_iter().flatten() {
        *path = folder.join(&*path);
    }
    for key in key.iter_mut().chain(additional.iter_mut().map(|additional| &mut additional.key)) {
        if let Key::File(path) = key {
            *path = folder.join(&*path);
        }
    }
}

fn environment(config: &mut Config, env: &Env, complain: &mut impl FnMut(&str, String)) {
    let datadog = &mut config.datadog;
    if let Some(key) = env.first(&["DD_API_KEY"]) {
        datadog.set_key(key);
    }
    if let Some(site) = env.first(&["DD_SITE"]) {
        set(&mut datadog.site, site_name(site).map_err(|problem| complain("DD_SITE", problem)).ok());
    }
    if let Some(text) = env.first(&["DD_URL", "DD_DD_URL"]) {
        datadog.url = parse(text).map_err(|problem| complain("DD_URL", format!("DD_URL: {problem}"))).ok();
    }
    if let Some(tags) = env.first(&["DD_TAGS"]) {
        datadog.tags = tags.split([',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    }
    if let Some(name) = env.first(&["DD_ENV"]) {
        datadog.env = Some(name.to_owned());
    }
    if let Some(name) = env.first(&["DD_CLUSTER_NAME"]) {
        datadog.cluster_name = Some(name.to_owned());
    }
    if let Some(text) = env.first(&["DD_PROXY_HTTPS", "HTTPS_PROXY", "https_proxy"]) {
        // A proxy's URL may hold a login: it is the usual place for it. The scheme is often left out.
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        match Url::parse(&text) {
            Ok(url) => {
                let no_proxy = env.first(&["DD_PROXY_NO_PROXY", "NO_PROXY", "no_proxy"]).unwrap_or_default().to_owned();
                datadog.proxy = Some(Proxy { url, no_proxy });
            }
            Err(error) => complain("HTTPS_PROXY", format!("the proxy is not a URL: {error}")),
        }
    }
    if let Some(text) = env.first(&["DD_ADDITIONAL_ENDPOINTS"]) {
        match additional_endpoints(text) {
            Ok(additional) => datadog.additional = additional,
            Err(problem) => complain("DD_ADDITIONAL_ENDPOINTS", format!("DD_ADDITIONAL_ENDPOINTS: {problem}")),
        }
    }
    config.kubernetes.in_cluster = env.first(&["KUBERNETES_SERVICE_HOST"]).is_some();
}

/// Reads the Agent's form, `{"https://app.datadoghq.eu": ["KEY"]}`; what is wrong is said without keys.
fn additional_endpoints(text: &str) -> Result<Vec<Additional>, String> {
    const WANTED: &str = "this is JSON such as {\"https://app.datadoghq.eu\": [\"KEY\"]}";
    let urls: BTreeMap<String, Vec<String>> = serde_json::from_str(text).map_err(|_| WANTED.to_owned())?;
    let mut additional = Vec::new();
    for (text, keys) in urls {
        let mut endpoint = parse(&text)?;
        // The Agent is told the web site, and sends to its API.
        if let Some(site) = endpoint.host_str().and_then(|host| host.strip_prefix("app.")).map(str::to_owned) {
            endpoint.set_host(Some(&format!("api.{site}"))).map_err(|error| error.to_string())?;
        }
        let keys = keys.into_iter().map(|key| Key::Static(SecretString::from(key)));
        additional.extend(keys.map(|key| Additional { endpoint: endpoint.clone(), key }));
    }
    Ok(additional)
}

fn command_line(config: &mut Config, flags: &Flags, complain: &mut impl FnMut(&str, String)) {
    let Flags { listen_address, log_level, log_format, push_every, dry_run, state_dir, state_lock_timeout, target } =
        flags.clone();
    if let Some(text) = listen_address {
        let listen = listen_addresses(&text).map_err(|problem| complain("--web.listen-address", problem)).ok();
        set(&mut config.web.listen, listen);
    }
    set(&mut config.log.level, log_level);
    set(&mut config.log.format, log_format);
    if let Some(every) = push_every {
        if every.subsec_nanos() != 0 || !(1..=3600).contains(&every.as_secs()) {
            complain("--push.every", "this is a whole number of seconds, from 1 to 3600".to_owned());
        }
        config.push.every = every;
    }
    config.push.dry_run |= dry_run;
    config.state.dir = state_dir.or(config.state.dir.take());
    set(&mut config.state.lock_timeout, state_lock_timeout);
    if let Some(flags) = target {
        let target = from_flags(flags, complain);
        config.targets = target.into_iter().map(|target| Group { target, discovery: None }).collect();
    }
}

fn from_flags(flags: TargetFlags, complain: &mut impl FnMut(&str, String)) -> Option<Target> {
    let TargetFlags { url, name, health_url, mappings, tags, kube_namespace, pod_name, bearer_token_file, tls } = flags;
    let mut read = |flag: &str, text: &str| parse(text).map_err(|problem| complain(flag, problem)).ok();
    let url = read("--target", &url);
    let health = health_url.map(|text| match text.as_str() {
        "off" => Some(HealthUrl::Off),
        text => read("--target.health-url", text).map(HealthUrl::Url),
    });
    let mut target = Target::at(url?);
    set(&mut target.health, health.flatten());
    set(&mut target.name, name);
    set(&mut target.mappings, Some(mappings).filter(|mappings| !mappings.is_empty()));
    target.tags = tags;
    target.kube_namespace = kube_namespace;
    target.pod_name = pod_name;
    set(&mut target.auth, bearer_token_file.map(Auth::BearerFile));
    target.tls = tls;
    Some(target)
}
