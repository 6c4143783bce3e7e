//! What templates compute with.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Zoned;

/// Why a function or an operator could not do its work: one sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// How deep lists and maps may be nested: whatever walks them recurses.
const MAX_DEPTH: u32 = 128;
/// How large a value may be, in bytes, with everything counted as often as it would be printed.
const MAX_WEIGHT: u64 = 64 << 20;

/// A value of a template. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// What is not UTF-8: a decoded secret, a file. It can be printed and encoded, nothing else.
    Bytes(Arc<[u8]>),
    List(Arc<List>),
    Map(Arc<Map>),
    Time(Arc<Zoned>),
    /// An item of a variable: a text to everyone who does not ask for its fields.
    Item(Arc<Item>),
    /// The items of a variable: a map to everyone who does not ask for what only a variable has.
    Variable(Arc<Map>, Arc<Owner>),
    /// What `scratch` without a method is: its methods are functions.
    Scratch,
}

/// A list, with its size known.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    size: Size,
}

/// A map, with its size known.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) entries: Entries,
    size: Size,
}

/// What a map is made of.
pub(crate) type Entries = BTreeMap<Arc<str>, Value>;

/// An item of a variable.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) key: Arc<str>,
    pub(crate) value: Arc<str>,
}

/// The variable that items belong to.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) path: String,
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    weight: u64,
    depth: u32,
}

impl Size {
    fn of(parts: impl Iterator<Item = Size>) -> Result<Self, Failure> {
        let size = parts.fold(Size { weight: 32, depth: 0 }, |sum, part| Size {
            weight: sum.weight.saturating_add(part.weight),
            depth: sum.depth.max(part.depth),
        });
        if size.depth >= MAX_DEPTH {
            return Err(format!("lists and maps are nested more than {MAX_DEPTH} levels deep").into());
        }
        if size.weight > MAX_WEIGHT {
            return Err(format!("a list or map grows beyond {} MiB", MAX_WEIGHT >> 20).into());
        }
        Ok(Size { depth: size.depth + 1, ..size })
    }
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Value {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A text, or bytes where it is not UTF-8.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::text(text),
            Err(error) => Self::Bytes(error.into_bytes().into()),
        }
    }

    pub(crate) fn int(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(crate) fn list(items: Vec<Value>) -> Result<Self, Failure> {
        let size = Size::of(items.iter().map(Value::size))?;
        Ok(Self::List(Arc::new(List { items, size })))
    }

    pub(crate) fn texts<S: Into<Arc<str>>>(texts: impl IntoIterator<Item = S>) -> Result<Self, Failure> {
        Self::list(texts.into_iter().map(Value::text).collect())
    }

    pub(crate) fn map(entries: Entries) -> Result<Self, Failure> {
        Ok(Self::Map(Arc::new(Self::counted(entries)?)))
    }

    pub(crate) fn variable(entries: Entries, owner: Owner) -> Result<Self, Failure> {
        Ok(Self::Variable(Arc::new(Self::counted(entries)?), Arc::new(owner)))
    }

    fn counted(entries: Entries) -> Result<Map, Failure> {
        let size = Size::of(entries.iter().map(|(key, value)| {
            let Size { weight, depth } = value.size();
            Size { weight: weight.saturating_add(length(key.len())), depth }
        }))?;
        Ok(Map { entries, size })
    }

    fn size(&self) -> Size {
        match self {
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Time(_) | Self::Scratch => {
                Size { weight: 32, depth: 0 }
            }
            Self::Text(text) => Size { weight: length(text.len()).saturating_add(32), depth: 0 },
            Self::Item(item) => Size { weight: length(item.value.len()).saturating_add(32), depth: 0 },
            Self::Bytes(bytes) => Size { weight: length(bytes.len()).saturating_add(32), depth: 0 },
            Self::List(list) => list.size,
            Self::Map(map) | Self::Variable(map, _) => map.size,
        }
    }

    /// How many bytes it takes, with everything counted as often as it would be printed.
    pub(crate) fn weight(&self) -> usize {
        usize::try_from(self.size().weight).unwrap_or(usize::MAX)
    }

    /// How many bytes it takes without what its items refer to.
    pub(crate) fn own_size(&self) -> usize {
        match self {
            Self::List(list) => list.items.len().saturating_mul(size_of::<Value>()),
            Self::Map(map) | Self::Variable(map, _) => map.entries.len().saturating_mul(64),
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Bytes(_)
            | Self::Time(_)
            | Self::Item(_)
            | Self::Scratch => self.weight(),
        }
    }

    /// What Go counts as true: whatever is not nil, zero or empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) | Self::Variable(map, _) => !map.entries.is_empty(),
            Self::Item(_) | Self::Time(_) | Self::Scratch => true,
        }
    }

    /// What messages call its type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) | Self::Item(_) => "string",
            Self::Bytes(_) => "bytes that are not UTF-8 text",
            Self::List(_) => "list",
            Self::Map(_) | Self::Variable(..) => "map",
            Self::Time(_) => "time",
            Self::Scratch => "scratch",
        }
    }

    /// Its text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Item(item) => Some(&item.value),
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Bytes(_)
            | Self::List(_)
            | Self::Map(_)
            | Self::Time(_)
            | Self::Variable(..)
            | Self::Scratch => None,
        }
    }

    /// Its entries, if it is a map.
    pub(crate) fn as_map(&self) -> Option<&Entries> {
        match self {
            Self::Map(map) | Self::Variable(map, _) => Some(&map.entries),
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Item(_)
            | Self::Bytes(_)
            | Self::List(_)
            | Self::Time(_)
            | Self::Scratch => None,
        }
    }

    /// Its items, if it is a list.
    pub(crate) fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(list) = self { Some(&list.items) } else { None }
    }
}

/// Equality as `deepEqual` and `in` mean it; numbers are equal by value.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, Self::Nil) | (Self::Scratch, Self::Scratch) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.items == b.items,
            (Self::Time(a), Self::Time(b)) => a == b,
            _ => match (self.as_text(), other.as_text(), self.as_map(), other.as_map()) {
                (Some(a), Some(b), _, _) => a == b,
                (_, _, Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }
}
