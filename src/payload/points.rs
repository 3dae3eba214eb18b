//! A view and its increases as points: counters, histograms and a summary's sums as what they grew by, the rest as is.

use crate::catalog::Output;
use crate::payload::{Point, PointKind};
pub use crate::tags::{json as json_tags, json_resources};
use crate::view::{Extra, Increases, View};

/// What the points of one view have in common.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub host: Option<&'a str>,
    /// Seconds that a count covers.
    pub interval: u32,
}

/// Calls `emit` for each point of a view, with its output row. `increases` is as [`crate::delta::Cursor::take`] hands it
/// over; with [`Gauges::Withhold`] only increases are sent, for a target that does not answer now.
pub fn of_view<'v>(
    view: &'v View,
    increases: &Increases,
    gauges: Gauges,
    frame: Frame<'v>,
    mut emit: impl FnMut(u32, Point<'v>),
) {
    let catalog = &view.catalog;
    for out in 0..catalog.out_slots.len() {
        let Some(Output { part, bound, row, family }) = catalog.output(out).filter(|output| output.part.is_pushed())
        else {
            continue;
        };
        let cumulative = part.is_cumulative(family.kind);
        let value = match (cumulative, gauges) {
            (true, _) => increases.get(catalog, out),
            (false, Gauges::Send) => view.output(out),
            (false, Gauges::Withhold) => None,
        };
        let Some(value) = value.filter(|value| value.is_finite()) else { continue };
        let (json_tags, json_resources) = catalog.json_tags(row);
        let point = Point {
            name: &family.name,
            suffix: family.kind.suffix(part),
            kind: if cumulative { PointKind::Count } else { PointKind::Gauge },
            value,
            interval: cumulative.then_some(frame.interval),
            json_tags,
            json_resources,
            bound: Some(bound.tag.as_str()).filter(|tag| !tag.is_empty()),
            host: frame.host,
            unit: family.unit.as_deref(),
        };
        emit(row, point);
    }
}

/// Whether the view's gauges are of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauges {
    Send,
    /// The view is of an earlier pull: only increases not sent yet.
    Withhold,
}

/// An extra as a point; `json_tags` is what [`json_tags`] made of its tags.
#[must_use]
pub fn of_extra<'a>(extra: &'a Extra, json_tags: &'a str, host: Option<&'a str>) -> Point<'a> {
    Point {
        name: &extra.name,
        suffix: "",
        kind: PointKind::Gauge,
        value: extra.value,
        interval: None,
        json_tags,
        json_resources: "",
        bound: None,
        host,
        unit: extra.unit.as_deref(),
    }
}
