//! A month of payments: honest ones, and three patterns of fraud that only the history around a payment shows.
//!
//! - *card testing*: one device tries stolen cards with tiny amounts, one after the other, then takes a large amount;
//! - *takeover*: a customer's account is used from another device, often from another country, for more than is usual;
//! - *collusion*: a merchant charges stolen cards with ordinary amounts, and chargebacks follow weeks later.
//!
//! Each has its honest double: small digital purchases, new phones, journeys, large presents.

use crate::calendar::{DAY, Month, day_of_year, weekday};
use crate::random::Random;
use crate::world::{CATEGORIES, COUNTRIES, RESALE, World};

/// How a payment was made, a place in [`CHANNELS`].
pub(crate) const CHANNELS: [&str; 3] = ["pos", "contactless", "ecom"];
const POS: u8 = 0;
const CONTACTLESS: u8 = 1;
const ECOM: u8 = 2;

/// What is behind a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    Honest,
    Testing,
    Takeover,
    Collusion,
}

/// A payment as it happened, before any dirt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Payment {
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) customer: u32,
    pub(crate) merchant: u32,
    /// 0 when there is none.
    pub(crate) device: u64,
    pub(crate) cents: i64,
    /// A place in [`CHANNELS`].
    pub(crate) channel: u8,
    /// A place in [`COUNTRIES`].
    pub(crate) country: u8,
    /// 0: none, 1 and 2: one of the phone makers'.
    pub(crate) wallet: u8,
    pub(crate) truth: Truth,
}

/// Share of fraud among all payments.
const FRAUD_SHARE: f64 = 0.01;
/// Where thieves appear to be, of [`COUNTRIES`].
const THIEF_COUNTRIES: [u32; COUNTRIES.len()] = [20, 14, 9, 11, 11, 9, 6, 7, 5, 3, 2, 3];
/// How many payments happen in each hour of the day, UTC.
const HOURS: [u32; 24] = [2, 1, 1, 1, 2, 4, 10, 18, 22, 24, 27, 32, 36, 32, 28, 28, 32, 38, 36, 28, 20, 14, 8, 4];
/// How busy the days of the week are, Monday first, of 8.
const WEEKDAYS: [usize; 7] = [5, 5, 6, 6, 8, 8, 4];

/// All payments of a month, in the order of time.
pub(crate) fn simulate(world: &World, month: &Month) -> Vec<Payment> {
    let seed = world.seed.derive("payments").derive(&month.number.to_string());
    let mut simulation = Simulation { world, month, random: Random::new(seed), payments: Vec::new() };
    simulation.payments.reserve_exact(month.rows as usize);
    // Rounded over the year, not by month, so that small data sets have their share of fraud.
    let frauds = |rows: u64| (rows as f64 * FRAUD_SHARE) as usize;
    simulation.frauds(frauds(month.rows_before + month.rows) - frauds(month.rows_before));
    while simulation.payments.len() < month.rows as usize {
        simulation.errand();
    }
    let mut payments = simulation.payments;
    payments.sort_unstable();
    while separate(&mut payments, month.end) {
        payments.sort_unstable();
    }
    payments
}

/// A card makes one payment a second: moves later ones away; says whether there were any.
fn separate(payments: &mut [Payment], end: i64) -> bool {
    let mut moved = false;
    for i in 1..payments.len() {
        if payments[i].at == payments[i - 1].at && payments[i].customer == payments[i - 1].customer {
            payments[i].at += if payments[i].at + 60 < end { 7 } else { -7_200 };
            moved = true;
        }
    }
    moved
}

/// Somebody with a stolen card or account.
struct Thief {
    customer: usize,
    device: u64,
    country: u8,
    truth: Truth,
}

struct Simulation<'a> {
    world: &'a World,
    month: &'a Month,
    random: Random,
    payments: Vec<Payment>,
}

impl Simulation<'_> {
    /// A moment of the month when somebody pays.
    fn moment(&mut self) -> i64 {
        let days = ((self.month.end - self.month.start) / DAY) as usize;
        loop {
            let day = self.random.below(days) as i64;
            let busy = WEEKDAYS[weekday(day_of_year(self.month.start) + day)];
            if self.random.below(8) < busy {
                let second = self.random.weighted(&HOURS) as i64 * 3_600 + self.random.between(0, 3_599);
                return self.month.start + day * DAY + second;
            }
        }
    }

    /// Keeps a payment, when it is in this month and there is room.
    fn keep(&mut self, payment: Payment) {
        if payment.at < self.month.end && self.payments.len() < self.month.rows as usize {
            self.payments.push(payment);
        }
    }

    /// An honest customer goes shopping: mostly one payment, at times a few within the hour.
    fn errand(&mut self) {
        let customer = self.world.any_customer(&mut self.random);
        let mut at = self.moment();
        if self.world.customers[customer].signed_up > at {
            return;
        }
        let payments = if self.random.chance(0.10) { self.random.between(2, 4) } else { 1 };
        for _ in 0..payments {
            let payment = self.honest(customer, at);
            self.keep(payment);
            at += self.random.between(40, 1_800);
        }
    }

    fn honest(&mut self, customer: usize, at: i64) -> Payment {
        let (world, random) = (self.world, &mut self.random);
        let day = day_of_year(at);
        let country = world.country_on(customer, day);
        let merchant = world.shop(customer, country, random);
        let category = &CATEGORIES[world.merchants[merchant].category as usize];
        let channel = if random.chance(category.online) {
            ECOM
        } else if random.chance(category.contactless) {
            CONTACTLESS
        } else {
            POS
        };
        // Half of the contactless payments are made with a phone.
        let by_phone = channel == CONTACTLESS && random.chance(0.5);
        let device = match channel {
            ECOM => world.online_device(customer, day, random),
            _ if by_phone => world.phone(customer, day),
            _ => 0,
        };
        let has_wallet = by_phone || (channel == ECOM && random.chance(0.15));
        // The phone's maker stays the same for a customer.
        let wallet = if has_wallet { 1 + u8::from(customer.is_multiple_of(3)) } else { 0 };
        let present = if random.chance(0.02) { random.unit() * 4.0 + 1.0 } else { 1.0 };
        let cents = (usual_cents(world, customer, merchant) * present * random.factor(category.sigma)) as i64;
        let (customer, merchant) = (customer as u32, merchant as u32);
        Payment { at, customer, merchant, device, cents: cents.max(20), channel, country, wallet, truth: Truth::Honest }
    }

    /// Episodes of fraud until the month has `count` fraudulent payments.
    fn frauds(&mut self, count: usize) {
        let count = count.min(self.payments.capacity());
        while self.payments.len() < count {
            let before = self.payments.len();
            match self.random.below(100) {
                0..14 => self.card_testing(),
                14..40 => self.takeover(),
                _ => self.collusion(),
            }
            // An episode that would be too much ends early.
            self.payments.truncate(count.max(before));
        }
    }

    fn victim(&mut self, at: i64) -> usize {
        loop {
            let customer = self.world.any_customer(&mut self.random);
            if self.world.customers[customer].signed_up < at {
                return customer;
            }
        }
    }

    /// Where a thief appears to be: hidden behind the customer's country, or anywhere.
    fn thief_country(&mut self, customer: usize) -> u8 {
        if self.random.chance(0.45) {
            self.world.customers[customer].home
        } else {
            self.random.weighted(&THIEF_COUNTRIES) as u8
        }
    }

    /// A thief buys online.
    fn steal(&mut self, thief: &Thief, at: i64, merchant: usize, cents: f64) {
        let wallet = if self.random.chance(0.12) { self.random.between(1, 2) as u8 } else { 0 };
        let Thief { customer, device, country, truth } = *thief;
        let (customer, merchant, cents) = (customer as u32, merchant as u32, (cents as i64).max(20));
        self.keep(Payment { at, customer, merchant, device, cents, channel: ECOM, country, wallet, truth });
    }

    fn card_testing(&mut self) {
        const DIGITAL: usize = 7;
        let device = self.random.bits() | 1;
        let mut at = self.moment();
        for _ in 0..self.random.between(2, 5) {
            let customer = self.victim(at);
            // Some hide the device, too: then only the pace on the card tells.
            let device = if self.random.chance(0.4) { self.random.bits() | 1 } else { device };
            let thief = Thief { customer, device, country: self.thief_country(customer), truth: Truth::Testing };
            for _ in 0..self.random.between(2, 4) {
                let category = if self.random.chance(0.6) { DIGITAL } else { self.random.below(CATEGORIES.len()) };
                let shop = self.world.shop_of(category, &mut self.random);
                let cents = self.random.between(50, 500) as f64;
                self.steal(&thief, at, shop, cents);
                at += self.random.between(15, 600);
            }
            if self.random.chance(0.7) {
                let shop = self.world.shop_of(RESALE[self.random.below(3)], &mut self.random);
                let cents = self.random.between(6_000, 50_000) as f64;
                let later = at + self.random.between(300, 14_400);
                self.steal(&thief, later, shop, cents);
            }
        }
    }

    fn takeover(&mut self) {
        let mut at = self.moment();
        let customer = self.victim(at);
        // With remote control of the customer's own phone, only amounts and pace tell.
        let device = match self.random.chance(0.15) {
            true => self.world.phone(customer, day_of_year(at)),
            false => self.random.bits() | 1,
        };
        let thief = Thief { customer, device, country: self.thief_country(customer), truth: Truth::Takeover };
        for _ in 0..self.random.between(2, 5) {
            let shop = self.world.shop_of(RESALE[self.random.below(RESALE.len())], &mut self.random);
            let more = 1.5 + 2.5 * self.random.unit();
            let cents = usual_cents(self.world, customer, shop) * more * self.random.factor(0.5);
            self.steal(&thief, at, shop, cents);
            at += self.random.between(120, 28_800);
        }
    }

    fn collusion(&mut self) {
        let at = self.moment();
        let day = day_of_year(at);
        let world = self.world;
        let is_bad = |merchant: &&u32| {
            let period = world.merchants[**merchant as usize].colludes;
            period.is_some_and(|(first, last)| (first..=last).contains(&day))
        };
        let bad: Vec<u32> = world.colluding.iter().filter(is_bad).copied().collect();
        if bad.is_empty() {
            return;
        }
        let shop = bad[self.random.below(bad.len())] as usize;
        let customer = self.victim(at);
        let category = &CATEGORIES[world.merchants[shop].category as usize];
        let cents = usual_cents(world, customer, shop) * 1.2 * self.random.factor(category.sigma);
        let (channel, country) = (POS, world.merchants[shop].country);
        let (customer, merchant, cents) = (customer as u32, shop as u32, (cents as i64).max(20));
        let truth = Truth::Collusion;
        self.keep(Payment { at, customer, merchant, device: 0, cents, channel, country, wallet: 0, truth });
    }
}

/// What a customer usually pays at a merchant, in cents.
pub(crate) fn usual_cents(world: &World, customer: usize, merchant: usize) -> f64 {
    let merchant = &world.merchants[merchant];
    CATEGORIES[merchant.category as usize].cents * merchant.factor * world.customers[customer].factor
}
