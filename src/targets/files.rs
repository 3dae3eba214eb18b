//! Discovery by files in the format of Prometheus' `file_sd_configs`, YAML or JSON: whoever writes them decides who is
//! pulled.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Found, Targets, url};
use crate::yaml::Document;
use crate::yaml::node::{Fields, Node};

/// Which files, and how to pull what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// A name may hold one `*` in its last part.
    pub paths: Vec<PathBuf>,
    /// `http` or `https`, unless a label `__scheme__` says otherwise.
    pub scheme: String,
    /// Unless a label `__metrics_path__` says otherwise.
    pub path: String,
    pub every: Duration,
}

/// Reads the files for ever. Of a file that cannot be read, what it said before stays. Ends only by being dropped.
pub async fn run(params: Params, targets: Targets, group: usize) {
    let mut known: BTreeMap<PathBuf, Vec<Found>> = BTreeMap::new();
    loop {
        let reading = params.clone();
        let read = tokio::task::spawn_blocking(move || read_all(&reading)).await.unwrap_or_default();
        let mut problems = Vec::new();
        known.retain(|path, _| read.contains_key(path));
        for (path, found) in read {
            match found {
                Ok(found) => drop(known.insert(path, found)),
                Err(problem) => problems.push(problem),
            }
        }
        targets.found(group, known.values().flatten().cloned().collect());
        targets.tell(group, Some(problems.join("\n")).filter(|text| !text.is_empty()));
        tokio::time::sleep(params.every).await;
    }
}

type Read = BTreeMap<PathBuf, Result<Vec<Found>, String>>;

fn read_all(params: &Params) -> Read {
    let mut read = Read::new();
    for pattern in &params.paths {
        match matching(pattern) {
            Ok(paths) => read.extend(paths.into_iter().map(|path| {
                let found = std::fs::read_to_string(&path)
                    .map_err(|error| format!("{}: {error}", path.display()))
                    .and_then(|text| targets_in(params, &path.display().to_string(), &text));
                (path, found)
            })),
            Err(error) => drop(read.insert(pattern.clone(), Err(format!("{}: {error}", pattern.display())))),
        }
    }
    read
}

/// The files of a name with a `*`; itself if there is none.
fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((start, end)) = name.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let fits = |name: &str| name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
        if entry.file_name().to_str().is_some_and(fits) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// What a file names, or all that is wrong with it.
fn targets_in(params: &Params, name: &str, text: &str) -> Result<Vec<Found>, String> {
    let document = Document::parse(name, text);
    let entries = document.root().list().unwrap_or_default();
    let found = entries.into_iter().filter_map(Node::fields).flat_map(|fields| entry(params, fields)).collect();
    document.problems().or_value(Some(found)).map_err(|problems| problems.to_string())
}

fn entry(params: &Params, mut fields: Fields<'_>) -> Vec<Found> {
    let (mut scheme, mut path) = (params.scheme.clone(), params.path.clone());
    let mut tags = Vec::new();
    let nodes = fields.required("targets").and_then(Node::list).unwrap_or_default();
    for (key, node) in fields.optional("labels").and_then(Node::map).unwrap_or_default() {
        let Some(value) = node.string() else { continue };
        match key.text() {
            "__scheme__" if !matches!(value.as_str(), "http" | "https") => node.refuse("a scheme is http or https", ""),
            "__scheme__" => scheme = value,
            "__metrics_path__" => path = value,
            // Labels that only Prometheus' relabelling would see.
            key if key.starts_with("__") => {}
            _ if value.is_empty() => {}
            key => tags.push((key.to_owned(), value)),
        }
    }
    fields.done();
    let found = |node: Node<'_>| {
        let address = node.string()?;
        let place = address.rsplit_once(':').and_then(|(host, port)| url(&scheme, host, port.parse().ok()?, &path));
        if place.is_none() {
            node.refuse("a target is `host:port`", "");
        }
        Some(Found { tags: tags.clone(), ..Found::at(place?) })
    };
    nodes.into_iter().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(paths: Vec<PathBuf>) -> Params {
        Params { paths, scheme: "http".into(), path: "/metrics".into(), every: Duration::from_secs(1) }
    }

    fn read(text: &str) -> Result<Vec<Found>, String> {
        targets_in(&params(Vec::new()), "sd.yaml", text)
    }

    #[test]
    fn prometheus_files_are_read_as_yaml_and_as_json() {
        let yaml = "- targets: ['a:1', 'b:2']\n  labels: { team: virt, __meta_x: y, __scheme__: https, __metrics_path__: /m }\n";
        let json =
            r#"[{"targets":["a:1","b:2"],"labels":{"team":"virt","__scheme__":"https","__metrics_path__":"/m"}}]"#;
        let found = read(yaml).unwrap();
        assert_eq!(found, read(json).unwrap());
        assert_eq!((found[1].name.as_str(), found[1].url.as_str()), ("b:2", "https://b:2/m"));
        assert_eq!(found[0].tags, [("team".to_owned(), "virt".to_owned())]);
        assert_eq!(read("[]").unwrap(), []);
    }

    #[test]
    fn all_that_is_wrong_with_a_file_is_told_with_its_place() {
        let problems = read("- targets: [a, 'b:x']\n  lables: {}\n- labels: { __scheme__: ftp }\n").unwrap_err();
        for wanted in ["sd.yaml:1:13", "a target is `host:port`", "did you mean `labels`?", "a scheme is http or https"]
        {
            assert!(problems.contains(wanted), "{wanted} in\n{problems}");
        }
        assert!(read("{}").is_err());
    }

    #[test]
    fn a_star_stands_for_any_file_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.json", "b.json", "c.yaml"] {
            std::fs::write(dir.path().join(name), "[{ targets: ['h:1'] }]").unwrap();
        }
        let read = read_all(&params(vec![dir.path().join("*.json"), dir.path().join("none.yaml")]));
        let good: Vec<bool> = read.values().map(Result::is_ok).collect();
        assert_eq!(good, [true, true, false]);
    }
}
