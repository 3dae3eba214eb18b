//! What one push says, as values: made into bodies without the loop.

use crate::payload::body::Encoder;
use crate::payload::points::{Frame, Gauges, json_tags, of_extra, of_view};
use crate::payload::{Body, Encoding, Limits, PointKind};
use crate::pull::Taken;
use crate::push::ZeroIncreases;
use crate::view::Extra;

/// About what a point costs, in nanoseconds.
const NANOS_POINT: usize = 300;

/// The points of one grid second.
pub(super) struct Batch {
    pub(super) second: i64,
    pub(super) encoding: Encoding,
    pub(super) zero_increases: ZeroIncreases,
    /// Onto every series.
    pub(super) tags: Vec<String>,
    pub(super) limits: Limits,
    pub(super) parts: Vec<Part>,
    /// Of no target.
    pub(super) extras: Vec<Extra>,
}

/// What a batch says of one target.
pub(super) struct Part {
    pub(super) taken: Option<Taken>,
    pub(super) gauges: Gauges,
    pub(super) health: Option<Extra>,
    pub(super) host: Option<String>,
    /// Seconds that its increases cover.
    pub(super) interval: u32,
}

impl Batch {
    /// About how many nanoseconds [`Batch::encode`] takes.
    pub(super) fn nanos(&self) -> usize {
        let taken = self.parts.iter().filter_map(|part| part.taken.as_ref());
        taken.map(|taken| taken.view.catalog.out_slots.len() * NANOS_POINT).sum()
    }

    pub(super) fn encode(&self) -> std::io::Result<Vec<Body>> {
        let mut encoder = Encoder::new(self.encoding, self.second, &self.tags, self.limits);
        for Part { taken, gauges, health, host, interval } in &self.parts {
            let frame = Frame { host: host.as_deref(), interval: *interval };
            if let Some(Taken { view, increases, .. }) = taken {
                let mut result = Ok(());
                of_view(view, increases, *gauges, frame, |_, point| {
                    let unmoved = point.kind == PointKind::Count && point.value == 0.0;
                    let omitted = unmoved && self.zero_increases == ZeroIncreases::Omit;
                    if result.is_ok() && !omitted {
                        result = encoder.push(&point);
                    }
                });
                result?;
            }
            if let Some(health) = health {
                encoder.push(&of_extra(health, &json_tags(&health.tags), frame.host))?;
            }
        }
        for extra in &self.extras {
            encoder.push(&of_extra(extra, &json_tags(&extra.tags), None))?;
        }
        encoder.finish()
    }
}
