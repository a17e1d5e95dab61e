//! The files of customers (CSV) and merchants (nested NDJSON).

use crate::calendar::YEAR_START;
use crate::random::Random;
use crate::text::{Sink, push_merchant, push_number, push_time};
use crate::world::{CATEGORIES, COUNTRIES, SEGMENTS, World};
use crate::{DemoError, WrittenFile};
use std::path::Path;

const FIRST_NAMES: [&str; 16] = [
    "Zoë", "Jürgen", "Łucja", "Chloé", "Søren", "Noémie", "André", "İpek", "Íñigo", "Anna", "Paul", "Giulia", "Marta",
    "Tom", "Ayşe", "Luca",
];
const LAST_NAMES: [&str; 16] = [
    "Müller",
    "Lefèvre",
    "Wiśniewska",
    "O'Brien",
    "García",
    "de Vries",
    "Rossi",
    "Nowak",
    "Groß",
    "Fernández",
    "Smith",
    "Çelik",
    "Bianchi",
    "Dubois",
    "Šimek",
    "Huber",
];
const SHOP_NAMES: [&str; 12] = [
    "Café Zoë",
    "Łódź Express",
    "Grüne Kiste",
    "La Crêperie",
    "Señor Taco",
    "Kiosk 24",
    "Bäckerei Groß",
    "Piękny Dom",
    "Hôtel du Lac",
    "Corner Shop",
    "Façade & Co",
    "\"Chez\" Léa",
];
/// A city of each of [`COUNTRIES`].
const CITIES: [&str; 12] = [
    "Köln",
    "Orléans",
    "Utrecht",
    "Málaga",
    "Forlì",
    "Łódź",
    "Graz",
    "Leeds",
    "Boston",
    "İzmir",
    "São Paulo",
    "Chiang Mai",
];
const RISKS: [&str; 3] = ["low", "medium", "high"];

/// Writes `data/customers.csv`.
pub(crate) fn write_customers(world: &World, folder: &Path) -> Result<WrittenFile, DemoError> {
    let mut sink = Sink::create(folder, "data/customers.csv")?;
    let mut random = Random::new(world.seed.derive("names"));
    sink.buffer.extend_from_slice(b"customer_id,name,home_country,segment,signed_up_at");
    sink.end_line()?;
    for (i, customer) in world.customers.iter().enumerate() {
        let (first, last) = (random.below(FIRST_NAMES.len()), random.below(LAST_NAMES.len()));
        push_number(&mut sink.buffer, world.customer_id(i));
        sink.buffer.extend_from_slice(b",\"");
        sink.buffer.extend_from_slice(LAST_NAMES[last].as_bytes());
        sink.buffer.extend_from_slice(b", ");
        sink.buffer.extend_from_slice(FIRST_NAMES[first].as_bytes());
        sink.buffer.extend_from_slice(b"\",");
        sink.buffer.extend_from_slice(COUNTRIES[customer.home as usize].as_bytes());
        sink.buffer.push(b',');
        sink.buffer.extend_from_slice(SEGMENTS[customer.segment as usize].as_bytes());
        sink.buffer.push(b',');
        push_time(&mut sink.buffer, customer.signed_up);
        sink.end_line()?;
    }
    sink.finish()
}

/// Writes `data/merchants.ndjson`.
pub(crate) fn write_merchants(world: &World, folder: &Path) -> Result<WrittenFile, DemoError> {
    let mut sink = Sink::create(folder, "data/merchants.ndjson")?;
    let mut random = Random::new(world.seed.derive("shops"));
    for (i, merchant) in world.merchants.iter().enumerate() {
        let name = SHOP_NAMES[random.below(SHOP_NAMES.len())].replace('"', "\\\"");
        let risk = RISKS[random.weighted(&[70, 24, 6])];
        sink.buffer.extend_from_slice(b"{\"merchant_id\":\"");
        push_merchant(&mut sink.buffer, i as u64);
        sink.buffer.extend_from_slice(b"\",\"name\":\"");
        sink.buffer.extend_from_slice(name.as_bytes());
        sink.buffer.extend_from_slice(b"\",\"category\":\"");
        sink.buffer.extend_from_slice(CATEGORIES[merchant.category as usize].name.as_bytes());
        sink.buffer.extend_from_slice(b"\",\"risk\":\"");
        sink.buffer.extend_from_slice(risk.as_bytes());
        sink.buffer.extend_from_slice(b"\",\"address\":{\"country\":\"");
        sink.buffer.extend_from_slice(COUNTRIES[merchant.country as usize].as_bytes());
        sink.buffer.extend_from_slice(b"\",\"city\":\"");
        sink.buffer.extend_from_slice(CITIES[merchant.country as usize].as_bytes());
        sink.buffer.extend_from_slice(b"\"},\"listed_at\":\"");
        push_time(&mut sink.buffer, YEAR_START - random.between(0, 3 * 365 * 86_400));
        sink.buffer.extend_from_slice(b"\"}");
        sink.end_line()?;
    }
    sink.finish()
}
