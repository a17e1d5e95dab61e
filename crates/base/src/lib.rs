//! What every crate of Pelton stands on: ids, the clock, the seed, digests, suggestions, and [`Report`], the one shape that
//! every mistake takes on its way to a person.
//!
//! Nothing here does IO, prints, or reads the environment.

pub mod clock;
pub mod codes;
pub mod difference;
pub mod digest;
pub mod fail;
pub mod grain;
pub mod ids;
pub mod number;
pub mod parallel;
pub mod report;
pub mod seed;
pub mod suggest;

pub use clock::{Clock, DAY_US, FixedClock, SystemClock, format_time_us, parse_time_us};
pub use difference::{ChangedLine, line_diff};
pub use digest::{Digest, Digester};
pub use grain::Grain;
pub use ids::{NodeName, ReceiptId, RunId, VersionId};
pub use number::thousands;
pub use report::{Kind, Place, Report, Reports, Severity};
pub use seed::Seed;
