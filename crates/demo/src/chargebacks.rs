//! Chargebacks: what customers tell their bank days or weeks after a payment, as NDJSON, a file for each month of reporting.
//! They are the labels, with the noise of real ones: some fraud is never noticed, and some honest payments are disputed.

use crate::calendar::{DAY, YEAR_END, YEAR_START, civil};
use crate::payments::{Payment, Truth};
use crate::random::Random;
use crate::text::{Sink, push_number, push_padded, push_time};
use crate::{DemoError, WrittenFile};
use pelton_base::Seed;
use std::path::Path;

/// Share of fraudulent payments that are reported.
const REPORTED: f64 = 0.94;
/// Share of honest payments that are disputed all the same.
const FRIENDLY: f64 = 0.000_4;
/// A chargeback arrives at the earliest and at the latest after so many days.
const DELAY_DAYS: (i64, i64) = (5, 60);
/// Reasons as banks write them.
const REASONS: [&str; 3] = ["fraud", "not_recognised", "not_received"];

/// A chargeback.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Chargeback {
    reported_at: i64,
    transaction_id: u64,
    reason: u8,
}

impl Chargeback {
    /// The chargeback that a payment leads to within the year, if any.
    pub(crate) fn of(seed: Seed, transaction_id: u64, payment: &Payment) -> Option<Self> {
        let mut random = Random::new(Seed(seed.derive("chargebacks").at(transaction_id)));
        let is_fraud = payment.truth != Truth::Honest;
        if !random.chance(if is_fraud { REPORTED } else { FRIENDLY }) {
            return None;
        }
        // Most are early, a few are late; shops that collude are noticed faster.
        let u = random.unit();
        let share = if payment.truth == Truth::Collusion { u * u * u } else { u * u };
        let delay = DELAY_DAYS.0 * DAY + (share * ((DELAY_DAYS.1 - DELAY_DAYS.0) * DAY) as f64) as i64;
        let reason = if is_fraud { random.weighted(&[8, 2, 0]) } else { random.weighted(&[1, 5, 4]) } as u8;
        let reported_at = payment.at + delay;
        (reported_at < YEAR_END).then_some(Chargeback { reported_at, transaction_id, reason })
    }
}

/// Writes the files of chargebacks, one for each month in which any was reported; returns them.
pub(crate) fn write(mut chargebacks: Vec<Chargeback>, folder: &Path) -> Result<Vec<WrittenFile>, DemoError> {
    chargebacks.sort_unstable();
    let month = |chargeback: &Chargeback| civil(chargeback.reported_at.max(YEAR_START).div_euclid(DAY)).1;
    let (mut files, mut id) = (Vec::new(), 0);
    for chunk in chargebacks.chunk_by(|a, b| month(a) == month(b)) {
        let mut sink = Sink::create(folder, &format!("data/chargebacks/2025-{:02}.ndjson", month(&chunk[0])))?;
        for chargeback in chunk {
            id += 1;
            sink.buffer.extend_from_slice(b"{\"chargeback_id\":\"cb");
            push_padded(&mut sink.buffer, id, 7);
            sink.buffer.extend_from_slice(b"\",\"transaction_id\":");
            push_number(&mut sink.buffer, chargeback.transaction_id);
            sink.buffer.extend_from_slice(b",\"reported_at\":\"");
            push_time(&mut sink.buffer, chargeback.reported_at);
            sink.buffer.extend_from_slice(b"\",\"reason\":\"");
            sink.buffer.extend_from_slice(REASONS[chargeback.reason as usize].as_bytes());
            sink.buffer.extend_from_slice(b"\"}");
            sink.end_line()?;
        }
        files.push(sink.finish()?);
    }
    Ok(files)
}
