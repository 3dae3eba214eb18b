//! Events of the YAML parser to a tree with byte positions. Values keep their spelling: what a scalar means is decided
//! by whoever asks for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Deep enough for any file we read, shallow enough for recursion.
const MAX_DEPTH: usize = 64;

/// A value and where it stands. Cheap to clone, for aliases.
#[derive(Clone)]
pub(super) struct Tree {
    pub span: Range<usize>,
    pub value: Rc<Value>,
}

pub(super) enum Value {
    Null,
    Scalar {
        text: String,
        /// Neither quoted nor a block: may be read as a number or a bool.
        plain: bool,
    },
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

pub(super) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Tree,
}

impl Tree {
    pub(super) fn empty() -> Self {
        Self { span: 0..0, value: Rc::new(Value::Null) }
    }
}

/// What the parser made of a text.
pub(super) struct Parse {
    /// `None` if the text is not YAML.
    pub tree: Option<Tree>,
    pub faults: Vec<Fault>,
}

pub(super) struct Fault {
    pub span: Range<usize>,
    pub title: String,
    pub label: String,
    /// Where the same thing stood first.
    pub first: Option<Range<usize>>,
}

/// Reads one document. Duplicate keys, tags and odd keys are faults and left out of the tree.
pub(super) fn parse(text: &str) -> Parse {
    let mut builder = Builder::new(text);
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => {
                let at = builder.offset(error.marker().index());
                builder.fault(at..at, format!("not YAML: {}", error.info()), "");
                Err(Stop)
            }
        };
        if step.is_err() {
            return Parse { tree: None, faults: builder.faults };
        }
    }
    Parse { tree: Some(builder.root.unwrap_or_else(Tree::empty)), faults: builder.faults }
}

/// The rest of the text cannot be read.
struct Stop;

struct Builder {
    /// Byte offset of each character: the parser counts characters.
    offsets: Vec<usize>,
    stack: Vec<Frame>,
    root: Option<Tree>,
    anchors: BTreeMap<usize, Tree>,
    faults: Vec<Fault>,
}

struct Frame {
    start: usize,
    end: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Tree>),
    Map {
        entries: Vec<Entry>,
        /// Waits for its value; `Err` if the key was refused and the value is to be dropped.
        key: Option<Result<(String, Range<usize>), ()>>,
    },
}

impl Builder {
    fn new(text: &str) -> Self {
        let offsets = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        Self { offsets, stack: Vec::new(), root: None, anchors: BTreeMap::new(), faults: Vec::new() }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let range = self.offset(span.start.index())..self.offset(span.end.index());
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                if self.root.is_some() {
                    self.fault(range, "a second document in one file".to_owned(), "put it in a file of its own");
                    return Err(Stop);
                }
            }
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(target) => self.value(Tree { span: range, value: target.value }, 0),
                None => {
                    self.fault(range.clone(), "an alias inside its own anchor".to_owned(), "");
                    self.value(Tree { span: range, value: Rc::new(Value::Null) }, 0);
                }
            },
            Event::Scalar(text, style, anchor, tag) => {
                let string_tag = tag.as_deref().is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                if !string_tag {
                    self.refuse_tag(tag.is_some(), &range);
                }
                let plain = style == ScalarStyle::Plain && !string_tag;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Scalar { text: text.into_owned(), plain } };
                self.value(Tree { span: range, value: Rc::new(value) }, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &range);
                self.open(range, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &range);
                self.open(range, anchor, Content::Map { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Frame { start, end, anchor, content }) = self.stack.pop() {
                    let value = match content {
                        Content::List(items) => Value::List(items),
                        Content::Map { entries, .. } => Value::Map(entries),
                    };
                    self.value(Tree { span: start..end.max(start), value: Rc::new(value) }, anchor);
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, range: Range<usize>, anchor: usize, content: Content) -> Result<(), Stop> {
        if self.stack.len() == MAX_DEPTH {
            self.fault(range, format!("nested deeper than {MAX_DEPTH}"), "");
            return Err(Stop);
        }
        self.stack.push(Frame { start: range.start, end: range.end, anchor, content });
        Ok(())
    }

    /// A finished value goes where it belongs.
    fn value(&mut self, tree: Tree, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(tree);
            return;
        };
        frame.end = frame.end.max(tree.span.end);
        match &mut frame.content {
            Content::List(items) => items.push(tree),
            Content::Map { entries, key } => match key.take() {
                Some(Ok((key, key_span))) => entries.push(Entry { key, key_span, value: tree }),
                Some(Err(())) => {}
                None => {
                    let Value::Scalar { text, .. } = &*tree.value else {
                        *key = Some(Err(()));
                        self.fault(tree.span, "a key has to be plain text".to_owned(), "");
                        return;
                    };
                    let Some(first) = entries.iter().find(|entry| entry.key == *text) else {
                        *key = Some(Ok((text.clone(), tree.span)));
                        return;
                    };
                    *key = Some(Err(()));
                    let first = Some(first.key_span.clone());
                    let title = format!("`{text}` is given twice");
                    self.faults.push(Fault { span: tree.span, title, label: "again here".to_owned(), first });
                }
            },
        }
    }

    fn refuse_tag(&mut self, tagged: bool, range: &Range<usize>) {
        if tagged {
            self.fault(range.clone(), "YAML tags have no meaning here".to_owned(), "remove the `!` tag before this");
        }
    }

    fn fault(&mut self, span: Range<usize>, title: String, label: &str) {
        self.faults.push(Fault { span, title, label: label.to_owned(), first: None });
    }

    fn offset(&self, characters: usize) -> usize {
        self.offsets.get(characters).or(self.offsets.last()).copied().unwrap_or_default()
    }
}
