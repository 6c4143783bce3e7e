//! How results look: tables, keys with values, times, sizes, JSON.

mod json;
mod pairs;
mod style;
mod table;
mod text;

pub(crate) use json::to_json;
pub(crate) use pairs::Pairs;
pub(crate) use style::Style;
pub(crate) use table::Table;
pub(crate) use text::{ago, duration, from_now, mebibytes, or_none, size, time, time_nanos};
