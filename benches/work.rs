//! What the benches do with the product: every call of it is here.

use std::sync::Arc;

use promdog::catalog::Catalog;
use promdog::delta::saved::Checkpoint;
use promdog::delta::{Cursor, FirstValue, Moment};
use promdog::exposition::lex::{self, Line};
use promdog::mapping::{Mapping, builtin};
use promdog::payload::body::Encoder;
use promdog::payload::points::{Frame, Gauges, of_view};
use promdog::payload::{Body, Encoding, Limits};
use promdog::time::UnixMillis;
use promdog::translate::{self, Translator};
use promdog::view::{Increases, Page, View};

/// What is kept of one target between pulls.
pub struct Target {
    mapping: Arc<Mapping>,
    translator: Translator,
    cursor: Cursor,
    /// Held as the service holds it: the page's readers may still have it.
    latest: Option<View>,
    pulls: i64,
}

impl Target {
    /// One that has never been pulled.
    pub fn new(mapping: &Arc<Mapping>) -> Self {
        let tags = vec![("endpoint".to_owned(), "https://10.0.0.7:8443/metrics".to_owned())];
        let params = translate::Params { namespace: None, tags, limits: translate::Limits::default() };
        let translator = Translator::new(Arc::clone(mapping), params);
        let cursor = Cursor::new(FirstValue::Prove);
        Self { mapping: Arc::clone(mapping), translator, cursor, latest: None, pulls: 0 }
    }

    /// One that has been pulled once, its increases taken.
    pub fn pulled(mapping: &Arc<Mapping>, text: &[u8]) -> Self {
        let mut target = Self::new(mapping);
        target.pull(text);
        target.take();
        target
    }

    pub fn read(&mut self, text: &[u8]) -> View {
        self.translator.read(text)
    }

    /// Reads, advances the cursor and keeps the view.
    pub fn pull(&mut self, text: &[u8]) {
        let mut view = self.read(text);
        advance(&mut self.cursor, &view, &self.mapping, self.pulls);
        if translate::is_wasteful(&view) {
            let (compacted, moved) = self.translator.compact(&view, |slot| self.cursor.owed(slot).is_some());
            self.cursor.remap(&view.catalog, &compacted.catalog, &moved);
            view = compacted;
        }
        self.cursor.merge(&mut view);
        self.pulls += 1;
        self.latest = Some(view);
    }

    pub fn take(&mut self) -> Increases {
        self.cursor.take(self.translator.catalog())
    }

    pub fn push(&mut self, encoding: Encoding) -> Vec<Body> {
        let increases = self.take();
        encode(self.latest(), &increases, encoding)
    }

    pub fn page(&self) -> usize {
        page(self.latest())
    }

    pub fn checkpoint(&self) -> Checkpoint {
        self.cursor.checkpoint(self.catalog())
    }

    /// Totals of series that have left.
    pub fn kept(&self) -> usize {
        self.cursor.retired()
    }

    pub fn latest(&self) -> &View {
        self.latest.as_ref().expect("it was pulled")
    }

    /// The cursor before the next pull.
    pub fn cursor(&self) -> Cursor {
        self.cursor.clone()
    }

    fn catalog(&self) -> &Arc<Catalog> {
        self.translator.catalog()
    }
}

/// KubeVirt's virt-api: every family of the generated page is in it.
pub fn mapping() -> Arc<Mapping> {
    Arc::new(Mapping::compile(&[builtin::source("kubevirt_api").expect("built in")]).expect("right"))
}

/// Every line lexed, nothing kept; the samples, so that nothing is left out.
pub fn lex(text: &[u8]) -> usize {
    let (mut rest, mut samples) = (text, 0);
    while let Some((line, next)) = lex::cut_line(rest) {
        rest = next;
        samples += usize::from(matches!(std::hint::black_box(lex::line(line)), Ok(Line::Sample(_))));
    }
    samples
}

/// Takes a view in and the increases out.
pub fn increases(mut cursor: Cursor, view: &View, mapping: &Mapping) -> (Cursor, Increases) {
    advance(&mut cursor, view, mapping, 1);
    let increases = cursor.take(&view.catalog);
    (cursor, increases)
}

fn advance(cursor: &mut Cursor, view: &View, mapping: &Mapping, pull: i64) {
    let began = 1_700_000_000_000;
    let moment = Moment { date: UnixMillis(began + pull * 15_000), watching_since: UnixMillis(began) };
    cursor.advance(view, mapping, moment);
}

pub fn encode(view: &View, increases: &Increases, encoding: Encoding) -> Vec<Body> {
    let mut encoder = Encoder::new(encoding, 1_700_000_000, &[], Limits::default());
    of_view(view, increases, Gauges::Send, Frame { host: None, interval: 15 }, |_, point| {
        encoder.push(&point).expect("it fits");
    });
    encoder.finish().expect("bodies")
}

/// Writes the page piece by piece, each handed over before the next; its length in bytes.
pub fn page(view: &View) -> usize {
    pieces(view).map(|piece| std::hint::black_box(piece).len()).sum()
}

pub fn pieces(view: &View) -> Page<&View> {
    Page::new(vec![view], Vec::new())
}

/// The bodies before compression.
pub fn raw(bodies: &[Body]) -> Vec<Vec<u8>> {
    let raw = |body: &Body| zstd::bulk::decompress(&body.zstd, body.raw_bytes).expect("we compressed it");
    bodies.iter().map(raw).collect()
}
