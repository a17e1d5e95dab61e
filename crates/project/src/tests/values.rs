//! What a loaded project says.

use super::load_text;
use crate::*;
use std::path::Path;

const SHOP: &str = r#"
--- sources/payments.toml
kind = "files"
path = "data/*.csv"
key = ["payment_id"]
[csv]
delimiter = ";"
[columns]
payment_id = "bigint"
amount = { type = "decimal(12,2)", description = "In euro.", checks = ["not_null", "not_null"] }
--- tables/activity.sql
/* pelton
entity = "customer_id"
time = "occurred_at"
ttl = "30 days"

[columns.amount]
checks = [
    "between(0, 10)", "accepted(1, 'b, c')", "matches('^it''s$')", "length(1, 20)", "unique", "references(payments.payment_id)",
    { check = "not_null", on_fail = "quarantine", tolerance = "1%" },
]
[checks]
row = "amount > 0"
between_amount = "amount <> 3"
whole = "row_count() > 10"
fresh = { sql = "freshness(at) < interval '1 day'", on_fail = "warn" }
together = "unique(a, \"B\")"
bad = { sql = "select * from activity where x < 0;", tolerance = 5 }
*/
SELECT   customer_id, -- whom
         occurred_at
from Payments ; -- done
--- models/fraud.sql
/* pelton
task = "classification"
target = "is_fraud"
key = "payment_id"
time = "occurred_at"
features = ["activity"]
accept = ["roc_auc >= current - 0.01"]
[gbdt]
rounds = 10
[derive]
zeta = "1 + 1"
alpha = "zeta * 2"
*/
select * from payments
"#;

fn shop() -> Project {
    load_text(SHOP).unwrap_or_else(|reports| panic!("{reports}"))
}

fn table(project: &Project, name: &str) -> Table {
    let Body::Table(table) = &project.node(name).unwrap().body else { panic!("{name} is no table") };
    (**table).clone()
}

fn model(text: &str, name: &str) -> Model {
    let project = load_text(text).unwrap_or_else(|reports| panic!("{reports}"));
    let Body::Model(model) = &project.node(name).unwrap().body else { panic!("{name} is no model") };
    (**model).clone()
}

#[test]
fn defaults_are_filled_in() {
    let settings = shop().settings;
    assert_eq!((settings.warehouse.as_str(), settings.seed, settings.publish), ("warehouse", 42, PublishRule::All));
    assert_eq!((settings.engine.memory_bytes, settings.engine.threads), (1_000_000_000, 0));
    let server = settings.server;
    assert_eq!((server.host.as_str(), server.port, server.body_bytes_max), ("127.0.0.1", 8470, 8 << 20));
    let model = model(SHOP, "fraud");
    assert_eq!(model.split, Split { by: SplitBy::Time, test: 0.2, valid: 0.1 });
    assert_eq!(model.learner.iter().map(|learner| learner.value).collect::<Vec<_>>(), [LearnerKind::Gbdt]);
    assert_eq!(model.missing, MissingRule::Null);
}

#[test]
fn a_source_keeps_what_it_declares_in_the_order_of_the_file() {
    let project = shop();
    let Body::Source(source) = &project.node("payments").unwrap().body else { panic!() };
    assert_eq!(
        source.columns.iter().map(|column| column.name.value.as_str()).collect::<Vec<_>>(),
        ["payment_id", "amount"]
    );
    assert_eq!(source.columns[1].description.as_deref(), Some("In euro."));
    assert_eq!((source.csv.delimiter, source.csv.quote, source.csv.header), (Some(b';'), b'"', true));
    assert_eq!(source.contract, Contract { columns: ContractRule::Evolve, data_type: ContractRule::Quarantine });
    let names: Vec<&str> = source.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["not_null_amount", "not_null_amount_2"]);
}

#[test]
fn checks_become_rules() {
    let table = table(&shop(), "activity");
    let rules: Vec<(&str, Rule)> = table.checks.iter().map(|check| (check.name.as_str(), check.rule.clone())).collect();
    let amount = || "amount".to_string();
    let expected = [
        ("between_amount", Rule::Between(amount(), "0".into(), "10".into())),
        ("accepted_amount", Rule::Accepted(amount(), vec!["1".into(), "'b, c'".into()])),
        ("matches_amount", Rule::Matches(amount(), "^it's$".into())),
        ("length_amount", Rule::Length(amount(), 1, 20)),
        ("unique_amount", Rule::Unique(vec![amount()])),
        (
            "references_amount",
            Rule::References { column: amount(), table: "payments".into(), other: "payment_id".into() },
        ),
        ("not_null_amount", Rule::NotNull(amount())),
        ("row", Rule::Row("amount > 0".into())),
        ("between_amount_2", Rule::Row("amount <> 3".into())),
        ("whole", Rule::Table("row_count() > 10".into())),
        ("fresh", Rule::Table("freshness(at) < interval '1 day'".into())),
        ("together", Rule::Unique(vec!["a".into(), "B".into()])),
        ("bad", Rule::Custom("select * from activity where x < 0".into())),
    ];
    assert_eq!(rules, expected);
    assert_eq!((table.checks[6].on_fail, table.checks[6].tolerance), (OnFail::Quarantine, Tolerance::Share(0.01)));
    assert_eq!((table.checks[10].on_fail, table.checks[10].tolerance), (OnFail::Warn, Tolerance::Rows(0)));
    assert_eq!(table.checks[12].tolerance, Tolerance::Rows(5));
    assert_eq!(table.ttl_us, Some(30 * 86_400_000_000));
}

#[test]
fn no_row_in_quarantine_is_not_the_same_as_no_tolerance() {
    let text = "--- tables/a.sql\n/* pelton\n[columns.x]\n\
                checks = [{ check = \"not_null\", on_fail = \"quarantine\" }, \"unique\"]\n[checks]\n\
                none = { sql = \"x > 0\", on_fail = \"quarantine\", tolerance = 0 }\n*/\nselect 1 as x";
    let project = load_text(text).unwrap_or_else(|reports| panic!("{reports}"));
    let found: Vec<Tolerance> = table(&project, "a").checks.iter().map(|check| check.tolerance).collect();
    assert_eq!(found, [Tolerance::Any, Tolerance::Rows(0), Tolerance::Rows(0)]);
}

#[test]
fn a_select_is_normal_and_keeps_its_place() {
    let project = shop();
    let (node, select) = (project.node("activity").unwrap(), table(&project, "activity").select);
    assert_eq!(select.normal, "SELECT customer_id, occurred_at FROM Payments");
    assert!(select.sql.ends_with("from Payments"), "{:?}", select.sql);
    assert_eq!(&node.text[select.offset..select.offset + select.sql.len()], select.sql);
    // The engine counts from the SELECT's text, whose first line is what follows the header.
    let place = node.place_in_select(4, 6, 8);
    assert_eq!(place.text.as_deref(), Some("from Payments ; -- done"));
    assert_eq!((place.line, place.column, place.length), (21, 6, 8));
}

#[test]
fn texts_know_where_they_stand() {
    let project = shop();
    let node = project.node("fraud").unwrap();
    let Body::Model(model) = &node.body else { panic!() };
    assert_eq!(&node.text[model.target.span.0..model.target.span.1], "is_fraud");
    assert_eq!(&node.text[model.derive[1].span.0..model.derive[1].span.1], "zeta * 2");
    assert_eq!(&node.text[model.accept[0].span.0..model.accept[0].span.1], "roc_auc >= current - 0.01");
    let names: Vec<&str> = model.derive.iter().map(|derived| derived.name.as_str()).collect();
    assert_eq!(
        names,
        ["zeta", "alpha"],
        "derived columns keep the order of the file: a later one may use an earlier one"
    );
}

#[test]
fn the_settings_digest_follows_what_is_learned_alone() {
    let digest = |from: &str, to: &str| {
        assert!(SHOP.contains(from), "{from}");
        model(&SHOP.replace(from, to), "fraud").settings_digest
    };
    let same = model(SHOP, "fraud").settings_digest;
    assert_eq!(digest("task = \"cl", "description = \"?\"\ntags = [\"x\"]\ntask = \"cl"), same);
    assert_eq!(digest("accept = [\"roc_auc >= current - 0.01\"]\n", ""), same);
    assert_eq!(digest("\"1 + 1\"", "\"1   +   1 -- two\""), same);
    assert_eq!(digest("features = [", "deterministic = true\nfeatures = ["), same);
    for (from, to) in [
        ("key = \"payment_id\"", "key = \"other_id\""),
        ("rounds = 10", "rounds = 11"),
        ("\"1 + 1\"", "\"1 + 2\""),
        ("[\"activity\"]", "[\"activity.x\"]"),
        ("task = \"classification\"", "task = \"regression\""),
        ("accept =", "missing = \"refuse\"\naccept ="),
        ("accept =", "exclude = \"x\"\naccept ="),
        ("accept =", "split = { valid = 0.2 }\naccept ="),
        ("accept =", "metric = \"roc_auc\"\naccept ="),
    ] {
        let from_to = SHOP.replace(from, to).replace("regression\"\ntarget", "regression\"\nmetric = \"rmse\"\ntarget");
        let text =
            if to.contains("regression") { from_to.replace("roc_auc >= current - 0.01", "r2 > 0") } else { from_to };
        assert_ne!(model(&text, "fraud").settings_digest, same, "{to}");
    }
}

#[test]
fn a_folder_is_a_project() {
    let folder = tempfile::tempdir().unwrap();
    let reports = load(folder.path()).unwrap_err();
    assert_eq!(reports.0[0].code, "no-project");
    assert_eq!(find_root(folder.path()), None);
    for (path, text) in init_files("a \"quoted\" shop") {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::write(folder.path().join("tables/.hidden.sql"), "no SQL").unwrap();
    std::fs::write(folder.path().join("tables/notes.txt"), "no SQL").unwrap();
    let project = load(folder.path()).unwrap_or_else(|reports| panic!("{reports}"));
    assert_eq!(project.settings.name, "a \"quoted\" shop");
    assert_eq!(project.order, ["orders".into(), "spend_by_day".into()]);
    let root = std::path::absolute(folder.path()).unwrap();
    assert_eq!(find_root(&folder.path().join("tables")), Some(root.clone()));
    assert_eq!(project.root, root);
}

#[test]
fn files_that_cannot_be_read_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("pelton.toml", b"name = \"shop\"\n");
    write("tables/latin.sql", b"select 1 as x\n-- caf\xe9\n");
    write("tables/huge.sql", &vec![b' '; FILE_BYTES_MAX as usize + 1]);
    write("tables/reader.sql", b"select * from latin join huge on true");
    let reports = load(folder.path()).unwrap_err();
    let found: Vec<String> = reports.0.iter().map(|report| format!("{report}: {}", report.notes.join(" "))).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("error[unreadable-file]: cannot read `tables/huge.sql` (tables/huge.sql): it has"),
        "{found:?}"
    );
    assert!(found[1].ends_with("(tables/latin.sql:2): line 2 is not UTF-8"), "{found:?}");
}

#[test]
fn the_example_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fraud");
    let project = load(&root).unwrap_or_else(|reports| panic!("{reports}"));
    assert!(project.node("fraud").is_some_and(|node| node.kind() == "model"));
}

#[test]
fn no_text_makes_it_panic() {
    let parts: Vec<&str> = SHOP.split("\n--- ").skip(1).collect();
    for (at, part) in parts.iter().enumerate() {
        for end in (0..part.len()).filter(|end| part.is_char_boundary(*end)) {
            let mut cut = parts.clone();
            cut[at] = &part[..end];
            let text = cut.iter().map(|part| format!("\n--- {part}")).collect::<String>();
            let _ = load_text(&text);
        }
    }
    for odd in [
        "/* pelton",
        "/*",
        "/* pelton*/",
        "/* pelton\n\u{0}*/ select",
        "\u{feff}/* pelton */ select 1 as x",
        "'",
        "\"",
        "é;é",
        "/*/",
        "--",
    ] {
        let _ = load_text(&format!("--- tables/a.sql\n{odd}\n--- models/b.sql\n{odd}\n--- sources/c.toml\n{odd}"));
    }
}

#[test]
fn long_chains_are_refused_before_they_need_a_deep_stack() {
    let sum = |terms: usize| load_text(&format!("--- tables/a.sql\nselect {} as x", vec!["1"; terms].join(" + ")));
    assert!(sum(CHAIN_MAX).is_ok());
    assert_eq!(sum(200_000).unwrap_err().0[0].code, "unsupported-sql");
    let union = |queries: usize| {
        load_text(&format!("--- tables/a.sql\n{}", vec!["select 1 as x"; queries].join(" union all ")))
    };
    assert!(union(CHAIN_MAX).is_ok());
    assert_eq!(union(100_000).unwrap_err().0[0].code, "unsupported-sql");
    let list = load_text(&format!("--- tables/a.sql\nselect 1 in ({}) as x", vec!["1"; 100_000].join(", ")));
    assert!(list.is_ok());
}

#[test]
fn every_setting_is_in_the_reference() {
    let reference = settings_markdown();
    assert!(reference.contains("| `memory` |") && reference.contains("| *NAME* |") && !reference.contains("`tune`"));
    for table in SETTINGS {
        for setting in table.settings.iter().filter(|setting| setting.built) {
            assert!(setting.doc.ends_with('.'), "{}", setting.key);
            let document = setting.example.parse::<toml_edit::DocumentMut>().expect(setting.example);
            assert!(setting.key == "*" || document.contains_key(setting.key), "{}", setting.example);
        }
    }
}

#[test]
fn the_reference_is_what_the_definition_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/settings.md");
    let text = settings_markdown();
    if std::env::var_os("PELTON_UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found.trim_end() == text.trim_end(), "write it anew with `PELTON_UPDATE=1 cargo test -p pelton-project`");
}
