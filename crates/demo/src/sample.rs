//! Two payments of the first morning after the simulated year, to ask the published endpoint about.

use crate::Options;
use crate::calendar::{YEAR_END, day_of_year};
use crate::payments::usual_cents;
use crate::text::{push_amount, push_device, push_merchant, push_number, push_time};
use crate::world::{CATEGORIES, COUNTRIES, RESALE, World};

/// Rows for the endpoint of the model `fraud`, each a JSON object with all columns that it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRequest {
    /// What the customer does every week: the usual shop, phone and amount, at home.
    pub normal: String,
    /// The same customer an hour later: an unknown device in another country, and much more money than usual.
    pub suspicious: String,
}

/// The sample payments for the data that [`crate::write`] makes with the same options.
pub fn sample_request(options: &Options) -> SampleRequest {
    sample(&World::new(options))
}

pub(crate) fn sample(world: &World) -> SampleRequest {
    // The lowest places are the most active ones; that customer has paid within the last days of the year.
    let customer = 0;
    let mut random = crate::random::Random::new(world.seed.derive("sample"));
    let home = world.customers[customer].home;
    let at = YEAR_END + 9 * 3_600 + 1_200;
    let grocery = |merchant: &usize| world.merchants[*merchant].category == 0;
    let shop = (0..1_000)
        .map(|_| world.shop(customer, home, &mut random))
        .find(|shop| grocery(shop) && world.merchants[*shop].colludes.is_none())
        .unwrap_or_else(|| world.shop_of(0, &mut random));
    let normal = Row {
        at,
        shop,
        device: world.phone(customer, day_of_year(at)),
        cents: usual_cents(world, customer, shop) as i64,
        channel: "contactless",
        country: home,
    };
    let shop = world.shop_of(RESALE[0], &mut random);
    let suspicious = Row {
        at: at + 3_600,
        shop,
        device: 0x0BAD_C0DE_0BAD_C0DE,
        cents: (usual_cents(world, customer, shop) * 4.0) as i64,
        channel: "ecom",
        country: (home + 5) % COUNTRIES.len() as u8,
    };
    SampleRequest { normal: normal.json(world, customer), suspicious: suspicious.json(world, customer) }
}

struct Row {
    at: i64,
    shop: usize,
    device: u64,
    cents: i64,
    channel: &'static str,
    country: u8,
}

impl Row {
    fn json(&self, world: &World, customer: usize) -> String {
        let text = |push: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            push(&mut out);
            String::from_utf8(out).expect("these are ASCII")
        };
        let category = CATEGORIES[world.merchants[self.shop].category as usize].name;
        format!(
            concat!(
                r#"{{"occurred_at": "{}", "customer_id": {}, "merchant_id": "{}", "device_id": "{}", "#,
                r#""amount": {}, "channel": "{}", "country": "{}", "wallet": null, "category": "{}"}}"#
            ),
            text(&|out| push_time(out, self.at)),
            text(&|out| push_number(out, world.customer_id(customer))),
            text(&|out| push_merchant(out, self.shop as u64)),
            text(&|out| push_device(out, self.device)),
            text(&|out| push_amount(out, self.cents, b'.')),
            self.channel,
            COUNTRIES[self.country as usize],
            category,
        )
    }
}
