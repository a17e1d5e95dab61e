//! Tensor datatypes, and which of them a column takes: those whose every value it holds exactly.

use arrow::datatypes::DataType;
use pelton_serve::{ColumnBuilder, Wrong};
use serde::{Deserialize, Serialize};

/// A tensor's datatype.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Datatype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    /// Reads a datatype's name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        use serde::de::IntoDeserializer;
        let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        Datatype::deserialize(name).ok()
    }

    /// The datatype in which a column is told and answered. Decimals are FP64, which a client has; text in BYTES is taken too.
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Datatype::Bool,
            DataType::Int8 => Datatype::Int8,
            DataType::Int16 => Datatype::Int16,
            DataType::Int32 => Datatype::Int32,
            DataType::Int64 => Datatype::Int64,
            DataType::Float32 => Datatype::Fp32,
            DataType::Float64 | DataType::Decimal128(_, _) => Datatype::Fp64,
            _ => Datatype::Bytes,
        }
    }

    /// The datatype of a list's items; `None` when the column is no list.
    pub(crate) fn of_items(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::List(item) => Some(Datatype::of(item.data_type())),
            _ => None,
        }
    }

    /// Bytes of an element in binary data; `None` when its length stands before it.
    pub(crate) fn width(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Int8 | Datatype::Uint8 => Some(1),
            Datatype::Int16 | Datatype::Uint16 => Some(2),
            Datatype::Int32 | Datatype::Uint32 | Datatype::Fp32 => Some(4),
            Datatype::Int64 | Datatype::Uint64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }

    /// Whether a column of this type takes tensors of this datatype.
    pub(crate) fn fits(self, data_type: &DataType) -> bool {
        use Datatype::*;
        match data_type {
            DataType::Boolean => self == Bool,
            DataType::Int8 => self == Int8,
            DataType::Int16 => matches!(self, Int8 | Int16 | Uint8),
            DataType::Int32 => matches!(self, Int8 | Int16 | Int32 | Uint8 | Uint16),
            DataType::Int64 => matches!(self, Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32),
            DataType::Float32 => matches!(self, Fp32 | Int8 | Int16 | Uint8 | Uint16),
            DataType::Float64 => matches!(self, Fp32 | Fp64 | Int8 | Int16 | Int32 | Uint8 | Uint16 | Uint32),
            // Here every value is looked at: digits that do not fit are refused.
            DataType::Decimal128(_, _) => self != Bool,
            _ => self == Bytes,
        }
    }

    /// Appends one element of JSON data.
    pub(crate) fn push_json(self, column: &mut ColumnBuilder, json: &str) -> Result<(), Wrong> {
        let number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let expected = |expected: &str| Wrong { expected: expected.into(), got: json.chars().take(40).collect() };
        match self {
            _ if json == "null" => column.push_null(),
            Datatype::Bool => return column.push(json),
            Datatype::Bytes if json.starts_with('"') => return column.push(json),
            Datatype::Bytes => return Err(expected("text")),
            Datatype::Fp64 if number => return column.push(json),
            // The number that the datatype has, as if it had come in binary.
            Datatype::Fp32 if number => return column.push_single(json.parse().map_err(|_| expected("a number"))?),
            Datatype::Fp32 | Datatype::Fp64 => return Err(expected("a number")),
            integer => {
                let (low, high) = integer.range();
                let value = json.parse::<i128>().ok().filter(|value| (low..=high).contains(value));
                let value = value.ok_or_else(|| expected(&format!("an integer from {low} to {high}")))?;
                return column.push_integer(value);
            }
        }
        Ok(())
    }

    /// Appends one element of binary data: little endian, of the datatype's width; BYTES without the length before it.
    pub(crate) fn push_binary(self, column: &mut ColumnBuilder, bytes: &[u8]) -> Result<(), Wrong> {
        fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("the caller cuts elements by the datatype's width")
        }
        match self {
            Datatype::Bool => column.push_boolean(bytes != [0]),
            Datatype::Int8 => column.push_integer(i8::from_le_bytes(array(bytes)).into()),
            Datatype::Int16 => column.push_integer(i16::from_le_bytes(array(bytes)).into()),
            Datatype::Int32 => column.push_integer(i32::from_le_bytes(array(bytes)).into()),
            Datatype::Int64 => column.push_integer(i64::from_le_bytes(array(bytes)).into()),
            Datatype::Uint8 => column.push_integer(u8::from_le_bytes(array(bytes)).into()),
            Datatype::Uint16 => column.push_integer(u16::from_le_bytes(array(bytes)).into()),
            Datatype::Uint32 => column.push_integer(u32::from_le_bytes(array(bytes)).into()),
            Datatype::Uint64 => column.push_integer(u64::from_le_bytes(array(bytes)).into()),
            Datatype::Fp32 => column.push_single(f32::from_le_bytes(array(bytes))),
            Datatype::Fp64 => column.push_double(f64::from_le_bytes(array(bytes))),
            Datatype::Bytes => column.push_bytes(bytes),
        }
    }

    fn range(self) -> (i128, i128) {
        match self {
            Datatype::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Datatype::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Datatype::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Datatype::Uint8 => (0, u8::MAX.into()),
            Datatype::Uint16 => (0, u16::MAX.into()),
            Datatype::Uint32 => (0, u32::MAX.into()),
            Datatype::Uint64 => (0, u64::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        }
    }
}

impl std::fmt::Display for Datatype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}
