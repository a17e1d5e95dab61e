//! The text files of the example project. The one copy is `examples/fraud` of the repository.

macro_rules! files {
    ($($path:literal)*) => {
        /// The project's files: path relative to its folder, and text.
        pub const PROJECT_FILES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../../examples/fraud/", $path)))),*];
    };
}

files! {
    "README.md"
    "pelton.toml"
    "sources/transactions.toml"
    "sources/merchants.toml"
    "sources/customers.toml"
    "sources/chargebacks.toml"
    "tables/payments.sql"
    "tables/features/customer_profile.sql"
    "tables/features/customer_activity.sql"
    "tables/features/customer_device.sql"
    "tables/features/device_activity.sql"
    "tables/features/merchant_risk.sql"
    "models/fraud.sql"
    "models/fraud_plain.sql"
    "tests/payments.toml"
    "tests/features.toml"
    "tests/chargebacks.toml"
    "tests/fraud.toml"
}
