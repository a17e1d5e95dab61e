//! JSON texts taken apart one level at a time, without copying: fields of an object, items of an array, as raw text.
//!
//! Raw text keeps what a parsed value loses: the digits of a decimal, and numbers beyond 64 bits.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A text is not JSON from this character on (counted from 1), or ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Where reading stopped, in bytes from 0.
    pub(crate) at: usize,
    /// Whether more text was expected.
    pub(crate) ended: bool,
}

/// Calls `each` for every field of an object, with its name and its value's raw text.
pub(crate) fn fields<'a>(object: &'a str, each: impl FnMut(Cow<'a, str>, &'a str)) -> Result<(), Broken> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let read = deserializer.deserialize_map(Fields(each)).and_then(|()| deserializer.end());
    read.map_err(|error| broken(object, &error))
}

/// Calls `each` for every item of an array, with its raw text.
pub(crate) fn items<'a>(array: &'a str, each: impl FnMut(&'a str)) -> Result<(), Broken> {
    let mut deserializer = serde_json::Deserializer::from_str(array);
    let read = deserializer.deserialize_seq(Items(each)).and_then(|()| deserializer.end());
    read.map_err(|error| broken(array, &error))
}

/// A whole value's raw text, without the space around it.
pub(crate) fn value(text: &str) -> Result<&str, Broken> {
    serde_json::from_str::<&RawValue>(text).map(RawValue::get).map_err(|error| broken(text, &error))
}

/// The text of a raw string; `None` when it has half of a surrogate pair, which no text can hold.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

fn broken(text: &str, error: &serde_json::Error) -> Broken {
    // The library counts lines from 1 and bytes of the line; a record may hold line ends inside of it.
    let mut start = 0;
    for _ in 1..error.line() {
        start += text[start..].find('\n').map_or(0, |at| at + 1);
    }
    Broken { at: (start + error.column().saturating_sub(1)).min(text.len()), ended: error.is_eof() }
}

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_string())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

struct Fields<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, &'de str)> Visitor<'de> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = map.next_key()? {
            let raw: &'de RawValue = map.next_value()?;
            (self.0)(name, raw.get());
        }
        Ok(())
    }
}

struct Items<F>(F);

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(raw) = items.next_element::<&'de RawValue>()? {
            (self.0)(raw.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(object: &str) -> Result<Vec<(String, String)>, Broken> {
        let mut found = Vec::new();
        fields(object, |name, raw| found.push((name.into_owned(), raw.to_string()))).map(|()| found)
    }

    #[test]
    fn fields_keep_their_raw_text() {
        let found = all(r#" {"a": 1.10, "b\n": "x\u0041", "c": [1, {"d": null}] } "#).unwrap();
        assert_eq!(found[0], ("a".into(), "1.10".into()));
        assert_eq!(found[1], ("b\n".into(), r#""x\u0041""#.into()));
        assert_eq!(found[2].1, r#"[1, {"d": null}]"#);
        assert_eq!(string(&found[1].1).unwrap(), "xA");
        assert_eq!(string(r#""\ud800""#), None);
    }

    #[test]
    fn broken_texts_say_where() {
        assert_eq!(all(r#"{"a": 1"#), Err(Broken { at: 6, ended: true }));
        assert_eq!(all(r#"{"a": x}"#), Err(Broken { at: 6, ended: false }));
        assert!(all(r#"{"a": 1} x"#).is_err());
        assert!(all("{'a': 1}").is_err());
        assert!(all(r#"{"a": 01}"#).is_err());
    }
}
