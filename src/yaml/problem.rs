//! What is wrong with a file, as text for its author: a title, the place, an excerpt with a caret.
//!
//! Excerpts are masked: a password in a URL, or a value whose key looks like a secret, is shown as asterisks.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use regex::Regex;

use crate::yaml::Spot;

/// One problem, rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// One line, without the place.
    pub title: String,
    /// Title, place and excerpt, several lines.
    pub rendered: String,
}

/// Everything wrong with one or more files. `Display` is the text to show; it ends without a line break.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Self(problems)
    }

    /// A problem that has no place in a text, for instance a file that cannot be read.
    #[must_use]
    pub fn without_place(file: &str, title: impl Into<String>) -> Self {
        let title = title.into();
        let rendered = format!("error: {title}\n --> {file}");
        Self(vec![Problem { file: file.to_owned(), line: 1, column: 1, title, rendered }])
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Appends another file's problems.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// `value` if nothing is wrong.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn or_value<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n\n")?;
            }
            formatter.write_str(&problem.rendered)?;
        }
        if self.0.len() > 1 {
            write!(formatter, "\n\n{} problems", self.0.len())?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

pub(super) fn render(title: &str, at: Spot<'_>, label: &str, other: Option<(Spot<'_>, &str)>) -> String {
    let text = masked(&at.document.text);
    let other = other.map(|(spot, label)| (spot, label, masked(&spot.document.text)));
    let mut snippet = Snippet::source(&*text).path(&at.document.name).annotation(annotation(
        AnnotationKind::Primary,
        caret(&text, at.start..at.end),
        label,
    ));
    let mut elsewhere = None;
    if let Some((spot, label, text)) = &other {
        let note = annotation(AnnotationKind::Context, caret(text, spot.start..spot.end), label);
        if std::ptr::eq(spot.document, at.document) {
            snippet = snippet.annotation(note);
        } else {
            elsewhere = Some(Snippet::source(&**text).path(&spot.document.name).annotation(note));
        }
    }
    let report = Level::ERROR.primary_title(title).element(snippet).elements(elsewhere);
    let rendered = Renderer::plain().render(&[report]);
    rendered.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn annotation<'a>(kind: AnnotationKind, span: Range<usize>, label: &'a str) -> annotate_snippets::Annotation<'a> {
    let annotation = kind.span(span);
    if label.is_empty() { annotation } else { annotation.label(label) }
}

/// The part of the span on its first line; at least one character where there is one.
fn caret(text: &str, span: Range<usize>) -> Range<usize> {
    let rest = text.get(span.start..).unwrap_or_default();
    let line = rest.split('\n').next().unwrap_or_default().trim_end();
    let wanted = (span.end - span.start).min(line.len());
    let length = if wanted > 0 { wanted } else { line.chars().next().map_or(0, char::len_utf8) };
    span.start..span.start + length
}

/// The text with secrets replaced by as many asterisks as they have bytes, so that positions stay true.
fn masked(text: &str) -> Cow<'_, str> {
    static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            // user:password@ in a URL
            r#"://([^/\s@"']+)@|"#,
            // a query value
            r#"(?i:[?&][^=&#\s]*(?:token|key|passw|secret|sig|auth|cred)[^=&#\s]*=)([^&#\s"']+)|"#,
            // a YAML value; keys that end in `_file` name a path
            r#"(?im:^[^#\n]*?\b(?:[a-z_-]*(?:api_?-?key|app_?-?key|authorization|passw(?:or)?d|passwd|secret|token|cookie))["']?[ \t]*:[ \t]+)([^\n]+)"#,
        ))
        .expect("a constant pattern, compiled by the tests")
    });
    let mut out = Cow::Borrowed(text);
    for found in SECRETS.captures_iter(text).flat_map(|found| [found.get(1), found.get(2), found.get(3)]).flatten() {
        out.to_mut().replace_range(found.range(), &"*".repeat(found.len()));
    }
    out
}
