//! A mapping file's YAML as values with their places: what a file may say, before the files are put together.

use crate::exposition::family::FamilyType;
use crate::mapping::labels::{LabelRules, Rewrite};
use crate::mapping::pattern::{Matcher, Template};
use crate::mapping::{Epoch, Health, HistogramMode, Version};
use crate::yaml::node::{Key, Node};
use crate::yaml::{Document, Spot};

/// Tags that mean something to Datadog itself; a mapping that made them from labels would move series about.
const RESERVED_TAGS: [&str; 6] = ["host", "device", "source", "service", "env", "version"];
/// Of Datadog's own suffixes, which come from the type.
const SUFFIXES: [&str; 4] = [".count", ".bucket", ".sum", ".quantile"];

/// One file.
#[derive(Default)]
pub(super) struct File<'d> {
    pub(super) namespace: Option<(String, Spot<'d>)>,
    pub(super) health: Option<Health>,
    pub(super) epoch: Epoch,
    pub(super) rules: Vec<Entry<'d>>,
    pub(super) labels: LabelRules,
    pub(super) exclude: Vec<Matcher>,
    pub(super) versions: Vec<Version>,
}

/// One rule, and where it stands.
pub(super) struct Entry<'d> {
    pub(super) key: Key<'d>,
    pub(super) matcher: Matcher,
    pub(super) name: String,
    pub(super) template: Template,
    pub(super) name_spot: Spot<'d>,
    pub(super) aliases: Vec<(String, Matcher, Spot<'d>)>,
    pub(super) kind: Option<FamilyType>,
    pub(super) histogram: HistogramMode,
    pub(super) epoch: Option<Epoch>,
    pub(super) unit: Option<String>,
    pub(super) description: Option<String>,
    pub(super) labels: Option<LabelRules>,
}

/// Reads a file; whatever is wrong is reported to the document.
pub(super) fn read(document: &Document) -> File<'_> {
    let mut file = File::default();
    let Some(mut fields) = document.root().fields() else { return file };
    if let Some(version) = fields.required("version")
        && let Some(number) = version.u64()
        && number != 1
    {
        version.refuse(format!("version {number} is not known to this promdog"), "1 is");
    }
    if let Some(node) = fields.optional("namespace")
        && let Some(text) = node.string()
    {
        check_name(node, &text, [text.as_str()].into_iter());
        file.namespace = Some((text, node.spot()));
    }
    file.health = fields.optional("health").and_then(health);
    file.epoch = fields.optional("epoch").and_then(epoch).unwrap_or_default();
    file.labels = fields.optional("labels").map(labels).unwrap_or_default();
    file.rules = fields.required("metrics").and_then(Node::map).map(rules).unwrap_or_default();
    for node in fields.optional("exclude").and_then(Node::list).unwrap_or_default() {
        file.exclude.extend(matcher(node));
    }
    for (key, node) in fields.optional("versions").and_then(Node::map).unwrap_or_default() {
        let families: Vec<String> = node.list().unwrap_or_default().into_iter().filter_map(Node::string).collect();
        file.versions.push(Version { name: key.text().to_owned(), families });
    }
    fields.done();
    file
}

fn health(node: Node<'_>) -> Option<Health> {
    let mut fields = node.fields()?;
    let path = fields.required("path");
    let name = fields.optional("name").and_then(Node::string).unwrap_or_else(|| "can_connect".to_owned());
    fields.done();
    let path_text = path?.string()?;
    if !path_text.starts_with('/') {
        path?.refuse("a path begins with `/`", "");
    }
    Some(Health { path: path_text, name })
}

fn epoch(node: Node<'_>) -> Option<Epoch> {
    node.word(&[("process", Epoch::Process), ("object", Epoch::Object), ("auto", Epoch::Auto)])
}

fn rules<'d>(entries: Vec<(Key<'d>, Node<'d>)>) -> Vec<Entry<'d>> {
    entries.into_iter().filter_map(|(key, node)| rule(key, node)).collect()
}

fn rule<'d>(key: Key<'d>, node: Node<'d>) -> Option<Entry<'d>> {
    let matcher = match Matcher::parse(key.text()) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            key.refuse(format!("`{}` is no regular expression: {error}", key.text()), "");
            None
        }
    };
    if key.text().is_empty() {
        key.refuse("the name of a family may not be empty", "");
    }
    let mut entry = Entry {
        key,
        matcher: Matcher::Exact(String::new()),
        name: String::new(),
        template: Template::default(),
        name_spot: node.spot(),
        aliases: Vec::new(),
        kind: None,
        histogram: HistogramMode::default(),
        epoch: None,
        unit: None,
        description: None,
        labels: None,
    };
    let name = if node.is_map() {
        let mut fields = node.fields()?;
        let name = fields.required("name");
        for alias in fields.optional("aliases").and_then(Node::list).unwrap_or_default() {
            if let (Some(text), Some(matcher)) = (alias.string(), self::matcher(alias)) {
                entry.aliases.push((text, matcher, alias.spot()));
            }
        }
        entry.kind = fields.optional("type").and_then(kind);
        entry.histogram = fields
            .optional("histogram")
            .and_then(|node| node.word(&[("buckets", HistogramMode::Buckets), ("sums", HistogramMode::Sums)]))
            .unwrap_or_default();
        entry.epoch = fields.optional("epoch").and_then(epoch);
        entry.unit = fields.optional("unit").and_then(unit);
        entry.description = fields.optional("description").and_then(Node::string);
        entry.labels = fields.optional("labels").map(labels);
        fields.done();
        name?
    } else if node.is_null() {
        return node.wrong("the metric's name");
    } else {
        node
    };
    entry.name_spot = name.spot();
    entry.name = name.string()?;
    entry.template = template(name, &entry.name)?;
    check_name(name, &entry.name, entry.template.texts());
    let suffix = SUFFIXES.iter().find(|suffix| entry.name.ends_with(**suffix));
    if let (Some(suffix), true) = (suffix, entry.kind != Some(FamilyType::Gauge)) {
        let bare = entry.name.trim_end_matches(suffix);
        name.refuse(format!("the suffix `{suffix}` comes from the family's type"), format!("write `{bare}`"));
    }
    entry.matcher = matcher?;
    let wanted = entry.template.highest_group();
    let least = entry.aliases.iter().map(|(_, alias, _)| alias.groups()).fold(entry.matcher.groups(), usize::min);
    if wanted > least {
        name.refuse(format!("`${{{wanted}}}` asks for a capture that is not there"), format!("{least} captured"));
    }
    Some(entry)
}

fn kind(node: Node<'_>) -> Option<FamilyType> {
    node.word(&[
        ("counter", FamilyType::Counter),
        ("gauge", FamilyType::Gauge),
        ("histogram", FamilyType::Histogram),
        ("summary", FamilyType::Summary),
    ])
}

fn unit(node: Node<'_>) -> Option<String> {
    let text = node.string()?;
    let legal = !text.is_empty() && text.chars().all(|char| char.is_ascii_lowercase() || char == '_' || char == '/');
    if !legal {
        node.refuse("a unit is one of Datadog's words, in lower case", "such as `second`, `byte` or `request`");
    }
    legal.then_some(text)
}

fn matcher(node: Node<'_>) -> Option<Matcher> {
    let text = node.string()?;
    match Matcher::parse(&text) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            node.refuse(format!("`{text}` is no regular expression: {error}"), "");
            None
        }
    }
}

fn template(node: Node<'_>, text: &str) -> Option<Template> {
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(error) => {
            node.refuse(error, "");
            None
        }
    }
}

fn check_name<'t>(node: Node<'_>, whole: &str, texts: impl Iterator<Item = &'t str>) {
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.');
    let odd = texts.flat_map(str::chars).find(|char| !legal(*char));
    if let Some(char) = odd {
        node.refuse(format!("`{char}` may not stand in a metric's name"), "letters, digits, `_` and `.`");
    } else if !whole.starts_with(|char: char| char.is_ascii_alphabetic() || char == '$') {
        node.refuse("a metric's name begins with a letter", "");
    } else if whole.contains("..") || whole.ends_with(['.', '_']) {
        node.refuse("a metric's name has no empty parts, and no `.` or `_` at its end", "");
    }
}

fn labels(node: Node<'_>) -> LabelRules {
    let mut rules = LabelRules::default();
    let Some(mut fields) = node.fields() else { return rules };
    for (key, node) in fields.optional("values").and_then(Node::map).unwrap_or_default() {
        let rewrites = node.list().unwrap_or_default().into_iter().filter_map(rewrite).collect();
        rules.values.insert(key.text().to_owned(), rewrites);
    }
    for node in fields.optional("drop").and_then(Node::list).unwrap_or_default() {
        rules.drop.extend(matcher(node));
    }
    for (key, node) in fields.optional("rename").and_then(Node::map).unwrap_or_default() {
        if let Some(text) = tag_key(node) {
            rules.rename.insert(key.text().to_owned(), text);
        }
    }
    for (key, node) in fields.optional("add").and_then(Node::map).unwrap_or_default() {
        if let Some(problem) = tag_key_problem(key.text()) {
            key.refuse(problem, "");
        }
        if let Some(value) = node.string() {
            rules.add.insert(key.text().to_owned(), value);
        }
    }
    fields.done();
    rules
}

fn rewrite(node: Node<'_>) -> Option<Rewrite> {
    let mut fields = node.fields()?;
    let matches = fields.required("match").and_then(matcher);
    let replace = fields.optional("replace");
    if replace.is_none() && fields.key("replace").is_none() {
        fields.required("replace");
    }
    fields.done();
    let text = replace.map_or(Some(String::new()), Node::string)?;
    let template = match replace {
        Some(node) => template(node, &text)?,
        None => Template::default(),
    };
    let matches = matches?;
    if template.highest_group() > matches.groups() {
        let (wanted, groups) = (template.highest_group(), matches.groups());
        node.refuse(format!("`${{{wanted}}}` asks for a capture that is not there"), format!("{groups} captured"));
    }
    Some(Rewrite { matches, replace: template })
}

fn tag_key(node: Node<'_>) -> Option<String> {
    let text = node.string()?;
    if let Some(problem) = tag_key_problem(&text) {
        node.refuse(problem, "");
    }
    Some(text)
}

fn tag_key_problem(key: &str) -> Option<String> {
    if RESERVED_TAGS.contains(&key) {
        return Some(format!("`{key}` is a tag of Datadog's own; choose another, such as `kubevirt_api_{key}`"));
    }
    let legal = key.starts_with(char::is_alphabetic)
        && key.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '/'));
    (!legal).then(|| format!("`{key}` is no tag key: a letter first, then letters, digits, `_`, `-`, `.` and `/`"))
}
