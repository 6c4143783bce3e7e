//! The one table of configuration keys: their types, and what becomes of each.

mod agent;
mod client;
mod ignored;
mod server;
mod world;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A text.
    Text,
    /// A duration such as `"30s"`.
    Duration,
    /// A size such as `"10MB"`.
    Bytes,
    /// Texts; those of later sources are added.
    List,
    /// Texts by name; those of later sources are added.
    Map,
}

/// What becomes of a key that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does what it says.
    Supported,
    /// It is accepted in silence, because what it asks for is so anyway.
    Moot,
    /// It is accepted with a warning that ends with this sentence.
    Ignored(&'static str),
    /// It is refused when it asks for something (is neither false, zero nor empty), with this sentence.
    Refused(&'static str),
    /// It is refused when it has this value, with this sentence, and else does nothing.
    RefusedAs(&'static str, &'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in its section.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What becomes of it.
    pub fate: Fate,
}

/// Whether the block of a section takes a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// It takes none and stands once.
    None,
    /// It takes a name, and may stand several times.
    Name,
    /// It may take a name, and may stand several times.
    OptionalName,
}

/// What becomes of a whole section.
#[derive(Debug, Clone, Copy)]
pub enum Contents {
    /// Its keys are read; each has its own fate.
    Keys(&'static [Key]),
    /// It is accepted with one warning that ends with this sentence; names outside the list are errors.
    Ignored(&'static str, &'static [&'static str]),
    /// Its presence is refused with this sentence.
    Refused(&'static str),
    /// The configuration of a driver, read as it stands.
    Plugin,
}

/// One block, or the top level.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its path: empty, `server`, `server.server_join`.
    pub path: &'static str,
    /// Whether it takes a label.
    pub label: Label,
    /// What is in it.
    pub contents: Contents,
}

/// All sections; a section comes after the one it stands in.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    agent::SECTIONS
        .iter()
        .chain(server::SECTIONS)
        .chain(client::SECTIONS)
        .chain(world::SECTIONS)
        .chain(ignored::SECTIONS)
}

/// The key at `path`, such as `server.bootstrap_expect`.
pub fn find(path: &str) -> Option<&'static Key> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    sections().filter(|candidate| candidate.path == section).find_map(|section| match section.contents {
        Contents::Keys(keys) => keys.iter().find(|key| key.name == name),
        Contents::Ignored(..) | Contents::Refused(_) | Contents::Plugin => None,
    })
}

const fn supported(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, fate: Fate::Supported }
}

const fn moot(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, fate: Fate::Moot }
}

const fn ignored(name: &'static str, kind: Kind, why: &'static str) -> Key {
    Key { name, kind, fate: Fate::Ignored(why) }
}

const fn refused(name: &'static str, kind: Kind, why: &'static str) -> Key {
    Key { name, kind, fate: Fate::Refused(why) }
}

const fn refused_as(name: &'static str, value: &'static str, why: &'static str) -> Key {
    Key { name, kind: Kind::Text, fate: Fate::RefusedAs(value, why) }
}

const fn keys(path: &'static str, keys: &'static [Key]) -> Section {
    Section { path, label: Label::None, contents: Contents::Keys(keys) }
}

const fn unbuilt(path: &'static str, label: Label, why: &'static str, names: &'static [&'static str]) -> Section {
    Section { path, label, contents: Contents::Ignored(why, names) }
}
