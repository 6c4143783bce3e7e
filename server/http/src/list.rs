//! Lists: a filter over full objects, and pages that begin at a token.

use std::cmp::Ordering;

use crate::error::Error;
use crate::filter::Filter;
use crate::params::Read;
use serde_json::Value;

/// Rows of a list and where the next ones begin.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_token: Option<String>,
}

impl<T> Page<T> {
    /// A page that holds the whole list.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next_token: None }
    }
}

/// Where a record stands in its list; its text is the token of a page that begins there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// By a text.
    Text(String),
    /// By creation, then id.
    Created(u64, String),
}

impl Key {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Created(index, id) => format!("{index}.{id}"),
        }
    }

    /// How this place compares to the one that `token` names.
    fn compare(&self, token: &str) -> Ordering {
        match self {
            Self::Text(text) => text.as_str().cmp(token),
            Self::Created(index, id) => {
                let (created, rest) = token.split_once('.').unwrap_or((token, ""));
                index.cmp(&created.parse().unwrap_or(0)).then_with(|| id.as_str().cmp(rest))
            }
        }
    }
}

/// How a list of records of type `T` is shown.
pub(crate) struct Rows<'a, T, R> {
    /// Where a record stands.
    pub(crate) key: &'a dyn Fn(&T) -> Key,
    /// The full object, which filters look at.
    pub(crate) full: &'a dyn Fn(&T) -> Result<Value, Error>,
    /// The names that a full object may have, where it leaves out empty fields.
    pub(crate) fields: &'static [&'static str],
    /// The row.
    pub(crate) row: &'a dyn Fn(&T) -> R,
}

/// The page of `records`, which are in the order of their keys, that `read` asks for.
///
/// Records that the filter rules out do not count against the page's size.
pub(crate) fn page<T, R>(read: &Read, mut records: Vec<T>, rows: &Rows<'_, T, R>) -> Result<Page<R>, Error> {
    let filter = if read.filter.is_empty() { None } else { Some(Filter::parse(&read.filter)?) };
    if read.reverse {
        records.reverse();
    }
    let before = if read.reverse { Ordering::Greater } else { Ordering::Less };
    let mut items = Vec::new();
    for record in &records {
        if !read.next_token.is_empty() && (rows.key)(record).compare(&read.next_token) == before {
            continue;
        }
        if let Some(filter) = &filter
            && !filter.matches(&(rows.full)(record)?, rows.fields)?
        {
            continue;
        }
        if read.per_page > 0 && items.len() == read.per_page {
            return Ok(Page { items, next_token: Some((rows.key)(record).text()) });
        }
        items.push((rows.row)(record));
    }
    Ok(Page::whole(items))
}

/// The JSON of `value`, for filters to look at.
pub(crate) fn to_value<T: serde::Serialize>(value: &T) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::internal(format!("cannot render a record: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn pages(query: &str) -> (Vec<u64>, Option<String>) {
        let read = Read::of(&Params::parse(query).unwrap()).unwrap();
        let rows = Rows {
            key: &|number: &u64| Key::Created(*number, "x".into()),
            full: &|number| Ok(serde_json::json!({ "N": number, "Odd": number % 2 == 1 })),
            fields: &[],
            row: &|number| *number,
        };
        let page = page(&read, (1..=12).collect(), &rows).unwrap();
        (page.items, page.next_token)
    }

    #[test]
    fn pages_begin_at_their_token_and_name_the_next_one() {
        assert_eq!(pages("per_page=5"), (vec![1, 2, 3, 4, 5], Some("6.x".into())));
        assert_eq!(pages("per_page=5&next_token=6.x"), (vec![6, 7, 8, 9, 10], Some("11.x".into())));
        assert_eq!(pages("per_page=5&next_token=11.x"), (vec![11, 12], None));
        assert_eq!(pages("per_page=12").1, None);
        assert_eq!(pages("per_page=2&reverse=true"), (vec![12, 11], Some("10.x".into())));
        assert_eq!(pages("per_page=2&reverse=true&next_token=10.x").0, vec![10, 9]);
    }

    #[test]
    fn what_a_filter_rules_out_does_not_count_against_the_page() {
        assert_eq!(pages("per_page=2&filter=Odd+%3D%3D+true"), (vec![1, 3], Some("5.x".into())));
        assert_eq!(pages("filter=N+%3D%3D+7"), (vec![7], None));
    }
}
