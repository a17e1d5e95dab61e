//! Who pays, where, with what: customers, merchants and devices, drawn once; everything a payment needs of them is a function
//! of the seed.

use crate::Options;
use crate::calendar::{DAY, YEAR_START};
use crate::random::{Random, skewed};
use pelton_base::Seed;

/// Countries; customers live in the first eight, merchants and travellers are everywhere.
pub(crate) const COUNTRIES: [&str; 12] = ["DE", "FR", "NL", "ES", "IT", "PL", "AT", "GB", "US", "TR", "BR", "TH"];
/// How many of [`COUNTRIES`] customers live in.
const HOMES: [u32; 8] = [30, 18, 10, 12, 12, 8, 5, 5];
/// Shares of merchants by country, of [`COUNTRIES`].
const MERCHANT_COUNTRIES: [u32; 12] = [27, 16, 9, 11, 11, 8, 5, 5, 3, 2, 1, 2];
/// Kinds of customers.
pub(crate) const SEGMENTS: [&str; 4] = ["student", "standard", "family", "premium"];

/// What a category of merchants sells, and how it is paid.
pub(crate) struct Category {
    /// Its name.
    pub(crate) name: &'static str,
    /// Share of merchants.
    weight: u32,
    /// The middle amount, in cents.
    pub(crate) cents: f64,
    /// How far amounts scatter: the standard deviation of their logarithm.
    pub(crate) sigma: f64,
    /// Share of payments online.
    pub(crate) online: f64,
    /// Share of the other payments that are contactless.
    pub(crate) contactless: f64,
}

const fn category(name: &'static str, weight: u32, cents: f64, sigma: f64, online: f64, contactless: f64) -> Category {
    Category { name, weight, cents, sigma, online, contactless }
}

/// The categories.
pub(crate) const CATEGORIES: [Category; 10] = [
    category("grocery", 24, 2_800.0, 0.70, 0.06, 0.65),
    category("restaurant", 18, 2_400.0, 0.60, 0.08, 0.65),
    category("transport", 11, 480.0, 0.70, 0.45, 0.75),
    category("fuel", 7, 5_600.0, 0.40, 0.00, 0.40),
    category("fashion", 9, 6_000.0, 0.70, 0.60, 0.45),
    category("electronics", 5, 12_000.0, 0.90, 0.70, 0.25),
    category("travel", 5, 21_000.0, 0.90, 0.85, 0.20),
    category("digital", 10, 550.0, 1.00, 1.00, 0.00),
    category("pharmacy", 6, 1_900.0, 0.60, 0.12, 0.60),
    category("home", 5, 7_000.0, 0.80, 0.45, 0.35),
];

/// Categories whose goods a thief can sell on.
pub(crate) const RESALE: [usize; 4] = [5, 4, 6, 7];

/// A stay in another country.
#[derive(Clone, Copy)]
struct Trip {
    first_day: i64,
    last_day: i64,
    country: u8,
}

/// A customer.
pub(crate) struct Customer {
    /// Home, a place in [`COUNTRIES`].
    pub(crate) home: u8,
    /// A place in [`SEGMENTS`].
    pub(crate) segment: u8,
    /// When the account was opened, in seconds since 1970.
    pub(crate) signed_up: i64,
    /// How much this customer spends, as a factor on the amounts of a category.
    pub(crate) factor: f64,
    trips: [Trip; 2],
    /// Days on which a new phone is first used.
    phones: [i64; 2],
    has_laptop: bool,
}

/// A merchant.
pub(crate) struct Merchant {
    /// A place in [`COUNTRIES`].
    pub(crate) country: u8,
    /// A place in [`CATEGORIES`].
    pub(crate) category: u8,
    /// A factor on the amounts of the category.
    pub(crate) factor: f64,
    /// First and last day on which this merchant charges stolen cards.
    pub(crate) colludes: Option<(i64, i64)>,
}

/// All of them.
pub(crate) struct World {
    pub(crate) seed: Seed,
    pub(crate) customers: Vec<Customer>,
    pub(crate) merchants: Vec<Merchant>,
    /// Merchants by country, the busy ones first.
    by_country: Vec<Vec<u32>>,
    /// Merchants by category.
    by_category: Vec<Vec<u32>>,
    /// Merchants that collude at some time.
    pub(crate) colluding: Vec<u32>,
    favourites: Seed,
    devices: Seed,
}

impl World {
    /// Draws the entities that belong to these options: about 50 payments a customer and 250 a merchant.
    pub(crate) fn new(options: &Options) -> Self {
        let seed = Seed(options.seed);
        let customers = customers((options.rows / 50).max(20) as usize, seed.derive("customers"));
        let merchants = merchants((options.rows / 250).max(60) as usize, seed.derive("merchants"));
        let mut by_country = vec![Vec::new(); COUNTRIES.len()];
        let mut by_category = vec![Vec::new(); CATEGORIES.len()];
        let mut colluding = Vec::new();
        for (i, merchant) in merchants.iter().enumerate() {
            by_country[merchant.country as usize].push(i as u32);
            by_category[merchant.category as usize].push(i as u32);
            if merchant.colludes.is_some() {
                colluding.push(i as u32);
            }
        }
        let (favourites, devices) = (seed.derive("favourites"), seed.derive("devices"));
        World { seed, customers, merchants, by_country, by_category, colluding, favourites, devices }
    }

    /// The id that the data shows for a customer: the order of the ids says nothing about how active one is.
    pub(crate) fn customer_id(&self, customer: usize) -> u64 {
        // A multiplication by a prime that does not divide the count visits every place once.
        let n = self.customers.len() as u64;
        let prime = [7_919, 7_927, 7_933].into_iter().find(|prime| !n.is_multiple_of(*prime)).unwrap_or(1);
        100_001 + customer as u64 * prime % n
    }

    /// A customer, the active ones more often.
    pub(crate) fn any_customer(&self, random: &mut Random) -> usize {
        skewed(random.bits(), self.customers.len())
    }

    /// Where a customer is on a day.
    pub(crate) fn country_on(&self, customer: usize, day: i64) -> u8 {
        let customer = &self.customers[customer];
        let trip = customer.trips.iter().find(|trip| (trip.first_day..=trip.last_day).contains(&day));
        trip.map_or(customer.home, |trip| trip.country)
    }

    /// Where a customer in `country` shops: mostly at home at one of eight favourites.
    pub(crate) fn shop(&self, customer: usize, country: u8, random: &mut Random) -> usize {
        let shops = &self.by_country[country as usize];
        let bits = if country == self.customers[customer].home && random.chance(0.7) {
            self.favourites.at((customer * 8 + random.below(8)) as u64)
        } else {
            random.bits()
        };
        shops[skewed(bits, shops.len())] as usize
    }

    /// Any merchant of a category.
    pub(crate) fn shop_of(&self, category: usize, random: &mut Random) -> usize {
        let shops = &self.by_category[category];
        shops[random.below(shops.len())] as usize
    }

    /// The phone that a customer uses on a day.
    pub(crate) fn phone(&self, customer: usize, day: i64) -> u64 {
        let changes = self.customers[customer].phones.iter().filter(|change| **change <= day).count();
        self.device(customer, changes)
    }

    /// What a customer shops online with: a phone, or a laptop.
    pub(crate) fn online_device(&self, customer: usize, day: i64, random: &mut Random) -> u64 {
        if random.chance(0.015) {
            // Somebody else's, or a new browser.
            return random.bits() | 1;
        }
        if self.customers[customer].has_laptop && random.chance(0.5) {
            return self.device(customer, 7);
        }
        self.phone(customer, day)
    }

    fn device(&self, customer: usize, slot: usize) -> u64 {
        self.devices.at((customer * 8 + slot) as u64) | 1
    }
}

fn customers(n: usize, seed: Seed) -> Vec<Customer> {
    let mut random = Random::new(seed);
    (0..n)
        .map(|i| {
            let home = random.weighted(&HOMES) as u8;
            // The most active customers have been there for years, so that small data sets have a history, too.
            let is_new = random.chance(0.2) && i * 5 > n;
            let (first, last) = if is_new { (0, 330) } else { (-2_000, -1) };
            let signed_up = YEAR_START + random.between(first, last) * DAY + random.between(0, DAY - 1);
            let segment = random.weighted(&[20, 45, 22, 13]) as u8;
            let trips = [(); 2].map(|()| {
                let country = random.weighted(&[10, 10, 8, 14, 14, 5, 8, 9, 9, 7, 2, 4]) as u8;
                let (first_day, days) = (random.between(0, 500), random.between(3, 16));
                Trip { first_day, last_day: first_day + days, country }
            });
            Customer {
                home,
                segment,
                signed_up,
                factor: [0.7, 1.0, 1.15, 1.7][segment as usize] * random.factor(0.4),
                trips,
                phones: [random.between(0, 600), random.between(0, 900)],
                has_laptop: random.chance(0.4),
            }
        })
        .collect()
}

fn merchants(n: usize, seed: Seed) -> Vec<Merchant> {
    /// A merchant that turns bad does so for this long, in days.
    const COLLUDES_DAYS: (i64, i64) = (80, 130);
    let weights = CATEGORIES.each_ref().map(|category| category.weight);
    let mut random = Random::new(seed);
    let mut merchants: Vec<Merchant> = (0..n)
        .map(|i| Merchant {
            // Every country and every category has a merchant, however few there are.
            country: if i < COUNTRIES.len() { i } else { random.weighted(&MERCHANT_COUNTRIES) } as u8,
            category: if i < 2 * CATEGORIES.len() { i % CATEGORIES.len() } else { random.weighted(&weights) } as u8,
            factor: random.factor(0.3),
            colludes: None,
        })
        .collect();
    let bad = (n / 80).max(1);
    for i in 0..bad {
        // Spread over the year, and never among the busiest.
        let start = (300 * i as i64 + random.between(0, 299)) / bad as i64 - 30;
        let period = Some((start, start + random.between(COLLUDES_DAYS.0, COLLUDES_DAYS.1)));
        let merchant = &mut merchants[n / 4 + random.below(n - n / 4)];
        merchant.colludes = merchant.colludes.or(period);
    }
    merchants
}
