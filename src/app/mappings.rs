//! Mapping files found by name: built in, or on disk.

use std::path::Path;

use crate::mapping::{Mapping, Source, builtin};
use crate::yaml::problem::Problems;

/// Reads and compiles mappings into one. A name is a built-in mapping's, or a file's.
///
/// # Errors
/// Files that cannot be read, and everything wrong with those that can.
pub fn load(names: &[String]) -> Result<Mapping, Problems> {
    let mut sources = Vec::new();
    let mut problems = Problems::default();
    for name in names {
        match source(name) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.extend(Problems::without_place(name, problem)),
        }
    }
    if problems.is_empty() {
        return Mapping::compile(&sources);
    }
    problems.or_value(None)
}

fn source(name: &str) -> Result<Source, String> {
    if let Some(source) = builtin::source(name) {
        return Ok(source);
    }
    match std::fs::read_to_string(Path::new(name)) {
        Ok(text) => Ok(Source { name: name.to_owned(), text }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let known: Vec<&str> = builtin::names().collect();
            Err(format!("no mapping `{name}`: no such file, and the built-in ones are {}", known.join(", ")))
        }
        Err(error) => Err(format!("cannot read the mapping `{name}`: {error}")),
    }
}
