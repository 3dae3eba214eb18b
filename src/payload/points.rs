//! A view and its increases as points: counters, histograms and a summary's sums as what they grew by, the rest as is.

use crate::catalog::Part;
use crate::payload::{Point, PointKind};
use crate::view::{Column, Extra, View};

/// What the points of one view have in common.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub host: Option<&'a str>,
    /// Seconds that a count covers.
    pub interval: u32,
}

/// Calls `emit` for each point of a view. `increases` is by output slot, as [`crate::delta::Cursor::take`] hands it
/// over; `None` for `gauges` sends only increases, for a target that does not answer now.
pub fn of_view<'v>(
    view: &'v View,
    increases: &Column,
    gauges: Gauges,
    frame: Frame<'v>,
    mut emit: impl FnMut(usize, Point<'v>),
) {
    for (id, slot) in view.catalog.out_slots.iter().enumerate() {
        if !slot.part.is_pushed() {
            continue;
        }
        let (_, row, family) = view.catalog.output(id);
        let cumulative = slot.part.is_cumulative(family.kind);
        let value = match (cumulative, gauges) {
            (true, _) => increases.get(id),
            (false, Gauges::Send) => view.output.get(id),
            (false, Gauges::Withhold) => None,
        };
        let Some(value) = value.filter(|value| value.is_finite()) else { continue };
        let bound = match slot.part {
            Part::Bucket(bound) => Some(("upper_bound", bound)),
            Part::Quantile(quantile) => Some(("quantile", quantile)),
            Part::Value | Part::Sum | Part::Count => None,
        };
        let point = Point {
            name: &family.name,
            suffix: family.kind.suffix(slot.part),
            kind: if cumulative { PointKind::Count } else { PointKind::Gauge },
            value,
            interval: cumulative.then_some(frame.interval),
            json_tags: &row.json_tags,
            json_resources: &row.json_resources,
            bound,
            host: frame.host,
            unit: family.unit.as_deref(),
        };
        emit(id, point);
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

/// As a tag, this is a resource to Datadog: its Agent makes one of it before it sends a series.
const DEVICE: &str = "device:";

/// Tags as members of a JSON array, without brackets; a device is no tag but a resource.
#[must_use]
pub fn json_tags(tags: &[String]) -> String {
    let tags = tags.iter().filter(|tag| !tag.starts_with(DEVICE));
    tags.map(|tag| json(tag)).collect::<Vec<_>>().join(",")
}

/// Devices among the tags, as members of the array `resources`, without brackets.
#[must_use]
pub fn json_resources(tags: &[String]) -> String {
    let devices = tags.iter().filter_map(|tag| tag.strip_prefix(DEVICE));
    devices.map(|name| format!("{{\"name\":{},\"type\":\"device\"}}", json(name))).collect::<Vec<_>>().join(",")
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
