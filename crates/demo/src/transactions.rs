//! The monthly CSV exports of payments, with the dirt of real ones. Every piece of dirt is drawn from the payment's id and
//! counted, and no payment has two, so that what a reader refuses can be compared with [`Dirt`] exactly.

use crate::calendar::{DAY, Month};
use crate::chargebacks::Chargeback;
use crate::payments::{CHANNELS, Payment, Truth, simulate};
use crate::random::unit;
use crate::text::{Sink, push_amount, push_device, push_merchant, push_number, push_time};
use crate::world::{COUNTRIES, World};
use crate::{DemoError, Dirt, WrittenFile};
use pelton_base::Seed;
use std::collections::VecDeque;
use std::path::Path;

/// The file of payments that arrived months late.
pub(crate) const LATE_FILE: &str = "data/transactions/2025-09-late.csv";
/// The month of those payments; they are from its last days.
const LATE_MONTH: usize = 6;
const LATE_DAYS: i64 = 3;
/// From this month on, the exports have the column `wallet`.
const WALLET_MONTH: usize = 7;
/// The id of the first payment.
const FIRST_ID: u64 = 10_000_001;
/// A repeated line follows after at most so many others; so many lines are held for it.
const REPEAT_EVERY: usize = 61;

/// What is wrong with a payment's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    Repeated,
    DecimalComma,
    CutOff,
    ExtraFields,
    UnknownMerchant,
    MissingAmount,
    ImpossibleAmount,
    Late,
}

/// How often each flaw occurs.
const FLAWS: [(Flaw, f64); 7] = [
    (Flaw::Repeated, 0.001_0),
    (Flaw::DecimalComma, 0.000_5),
    (Flaw::CutOff, 0.000_2),
    (Flaw::ExtraFields, 0.000_1),
    (Flaw::UnknownMerchant, 0.000_6),
    (Flaw::MissingAmount, 0.000_2),
    (Flaw::ImpossibleAmount, 0.000_1),
];
/// How often they occur in the last days of [`LATE_MONTH`], when a line to the shops was down.
const LATE_FLAWS: [(Flaw, f64); 2] = [(Flaw::Late, 0.08), (Flaw::Repeated, 0.02)];

/// What a month gave.
pub(crate) struct MonthWritten {
    pub(crate) file: WrittenFile,
    pub(crate) dirt: Dirt,
    pub(crate) frauds: u64,
    pub(crate) chargebacks: Vec<Chargeback>,
    /// Lines for [`LATE_FILE`], without `wallet`.
    pub(crate) late: Vec<Vec<u8>>,
}

/// Simulates a month and writes its file.
pub(crate) fn write_month(world: &World, month: &Month, folder: &Path) -> Result<MonthWritten, DemoError> {
    let payments = simulate(world, month);
    let mut sink = Sink::create(folder, &format!("data/transactions/2025-{:02}.csv", month.number))?;
    let mut exporter = Exporter {
        world,
        flaws: world.seed.derive("flaws"),
        words: world.seed.derive("words"),
        has_wallet: month.number >= WALLET_MONTH,
        dirt: Dirt::default(),
    };
    header(&mut sink.buffer, exporter.has_wallet);
    sink.end_line()?;
    let mut repeats: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut late, mut chargebacks, mut frauds) = (Vec::new(), Vec::new(), 0);
    for (i, payment) in payments.iter().enumerate() {
        let id = FIRST_ID + month.rows_before + i as u64;
        frauds += u64::from(payment.truth != Truth::Honest);
        chargebacks.extend(Chargeback::of(world.seed, id, payment));
        let is_last_days = month.number == LATE_MONTH && payment.at >= month.end - LATE_DAYS * DAY;
        let flaw = match exporter.flaw(id, is_last_days) {
            // So that there is one, however few payments there are.
            Flaw::None if is_last_days && i + 1 == payments.len() => Flaw::Late,
            flaw => flaw,
        };
        if flaw == Flaw::Late {
            exporter.dirt.late_rows += 1;
            let mut line = Vec::new();
            exporter.line(&mut line, id, payment, flaw);
            late.push(line);
            continue;
        }
        let start = sink.buffer.len();
        exporter.line(&mut sink.buffer, id, payment, flaw);
        if flaw == Flaw::Repeated {
            let line = sink.buffer[start..].to_vec();
            if is_last_days { late.push(line) } else { repeats.push_back(line) }
        }
        sink.end_line()?;
        if i % REPEAT_EVERY == 0
            && let Some(line) = repeats.pop_front()
        {
            sink.buffer.extend_from_slice(&line);
            sink.end_line()?;
        }
    }
    for line in repeats {
        sink.buffer.extend_from_slice(&line);
        sink.end_line()?;
    }
    Ok(MonthWritten { file: sink.finish()?, dirt: exporter.dirt, frauds, chargebacks, late })
}

/// Writes the file of late payments, which also repeats some that had arrived in time.
pub(crate) fn write_late(lines: &[Vec<u8>], folder: &Path) -> Result<WrittenFile, DemoError> {
    let mut sink = Sink::create(folder, LATE_FILE)?;
    header(&mut sink.buffer, true);
    sink.end_line()?;
    for line in lines {
        sink.buffer.extend_from_slice(line);
        // These payments are older than the column `wallet`.
        sink.buffer.push(b',');
        sink.end_line()?;
    }
    sink.finish()
}

fn header(out: &mut Vec<u8>, has_wallet: bool) {
    out.extend_from_slice(b"transaction_id,occurred_at,customer_id,merchant_id,device_id,amount,channel,country");
    if has_wallet {
        out.extend_from_slice(b",wallet");
    }
}

struct Exporter<'a> {
    world: &'a World,
    flaws: Seed,
    words: Seed,
    has_wallet: bool,
    dirt: Dirt,
}

impl Exporter<'_> {
    fn flaw(&self, id: u64, is_last_days: bool) -> Flaw {
        let mut at = self.flaws.unit_at(id);
        let flaws: &[(Flaw, f64)] = if is_last_days { &LATE_FLAWS } else { &FLAWS };
        for (flaw, share) in flaws {
            if at < *share {
                return *flaw;
            }
            at -= share;
        }
        Flaw::None
    }

    /// Appends a payment's line, without its end, and counts its dirt.
    fn line(&mut self, out: &mut Vec<u8>, id: u64, payment: &Payment, flaw: Flaw) {
        let start = out.len();
        let words = self.words.at(id);
        push_number(out, id);
        out.push(b',');
        push_time(out, payment.at);
        out.push(b',');
        push_number(out, self.world.customer_id(payment.customer as usize));
        out.push(b',');
        match flaw {
            // Terminals that were set up after the list of merchants was exported.
            Flaw::UnknownMerchant => push_merchant(out, 900_000 + words % 50),
            _ => push_merchant(out, u64::from(payment.merchant)),
        }
        out.push(b',');
        match payment.device {
            0 => out.extend_from_slice([&b""[..], b"", b"NULL", b"N/A"][(words >> 8) as usize & 3]),
            device => push_device(out, device),
        }
        out.push(b',');
        match flaw {
            Flaw::DecimalComma => {
                out.push(b'"');
                push_amount(out, payment.cents, b',');
                out.push(b'"');
            }
            Flaw::MissingAmount => out.extend_from_slice(b"N/A"),
            Flaw::ImpossibleAmount => out.extend_from_slice(b"9999999.99"),
            _ => push_amount(out, payment.cents, b'.'),
        }
        out.push(b',');
        self.channel(out, CHANNELS[payment.channel as usize], unit(words.rotate_left(32)), flaw);
        out.push(b',');
        out.extend_from_slice(COUNTRIES[payment.country as usize].as_bytes());
        if self.has_wallet {
            out.extend_from_slice([&b","[..], b",blue", b",green"][payment.wallet as usize]);
        }
        let dirt = &mut self.dirt;
        match flaw {
            Flaw::CutOff => {
                // In the middle of the time, so that it reads as no row at all.
                out.truncate(start + "10000001,2025-0".len());
                dirt.cut_off_lines += 1;
            }
            Flaw::ExtraFields => {
                out.extend_from_slice(b",v2,resent");
                dirt.extra_field_lines += 1;
            }
            Flaw::Repeated => dirt.duplicate_ids += 1,
            Flaw::DecimalComma => dirt.decimal_commas += 1,
            Flaw::UnknownMerchant => dirt.unknown_merchants += 1,
            Flaw::MissingAmount => dirt.missing_amounts += 1,
            Flaw::ImpossibleAmount => dirt.impossible_amounts += 1,
            Flaw::None | Flaw::Late => {}
        }
    }

    /// Appends the channel; some terminals shout.
    fn channel(&mut self, out: &mut Vec<u8>, channel: &str, draw: f64, flaw: Flaw) {
        if draw < 0.03 && matches!(flaw, Flaw::None | Flaw::Late) {
            self.dirt.mixed_case_channels += 1;
            out.push(channel.as_bytes()[0].to_ascii_uppercase());
            let is_loud = draw < 0.02;
            out.extend(channel.bytes().skip(1).map(|byte| if is_loud { byte.to_ascii_uppercase() } else { byte }));
        } else {
            out.extend_from_slice(channel.as_bytes());
        }
    }
}
