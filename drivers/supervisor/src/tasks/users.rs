//! Whom a task runs as.
//!
//! Read from `/etc/passwd` and `/etc/group`, not through the host's name services: those load foreign code into the agent and may wait for
//! the network.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use crate::spec::UserIds;

/// A set of user or group ids, written `0,5,1000-2000`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdRanges(Vec<RangeInclusive<u32>>);

/// A text that is no set of ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an id nor a range of ids such as 1000-2000")]
pub struct InvalidIdRange(String);

impl IdRanges {
    /// Whether `id` is in it.
    pub fn contains(&self, id: u32) -> bool {
        self.0.iter().any(|range| range.contains(&id))
    }
}

impl FromStr for IdRanges {
    type Err = InvalidIdRange;

    fn from_str(text: &str) -> Result<Self, InvalidIdRange> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
            (!range.is_empty()).then_some(range)
        };
        parts.map(|part| range(part).ok_or_else(|| InvalidIdRange(part.to_owned()))).collect::<Result<_, _>>().map(Self)
    }
}

/// Why a task cannot run as the user it names.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("cannot read {path}")]
    Database { path: &'static str, source: io::Error },
    #[error("user {0:?} does not exist in /etc/passwd")]
    NoUser(String),
    #[error("group {0:?} does not exist in /etc/group")]
    NoGroup(String),
    #[error("user id {0} is not in /etc/passwd, so its group is not known: write user id and group id as {0}:{0}")]
    NoPrimaryGroup(u32),
    #[error("this node does not let tasks run with {kind} id {id}")]
    Denied { kind: &'static str, id: u32 },
}

/// Who may not run tasks here.
#[derive(Debug, Clone, Copy)]
pub struct Denied<'a> {
    pub uids: &'a IdRanges,
    pub gids: &'a IdRanges,
}

/// The ids of `user`, written `<user>` or `<user>:<group>`, each a name or a number; `None` for the agent's own.
///
/// Blocks for as long as it takes to read two files.
pub fn resolve(user: Option<&str>, denied: Denied<'_>) -> Result<Option<UserIds>, UserError> {
    let own = own_ids();
    let ids = match user {
        None => own.clone(),
        Some(user) => Database::read()?.find(user)?,
    };
    denied.check(&ids)?;
    // Without privileges not even a change to oneself is allowed, and none is needed.
    let is_own = ids.uid == own.uid && ids.gid == own.gid && own.uid != 0;
    Ok((user.is_some() && !is_own).then_some(ids))
}

fn own_ids() -> UserIds {
    let groups = nix::unistd::getgroups().unwrap_or_default();
    UserIds {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
    }
}

impl Denied<'_> {
    fn check(self, ids: &UserIds) -> Result<(), UserError> {
        if self.uids.contains(ids.uid) {
            return Err(UserError::Denied { kind: "user", id: ids.uid });
        }
        let groups = ids.groups.iter().copied().chain([ids.gid]);
        match groups.into_iter().find(|gid| self.gids.contains(*gid)) {
            Some(id) => Err(UserError::Denied { kind: "group", id }),
            None => Ok(()),
        }
    }
}

/// The host's users and groups.
struct Database {
    passwd: String,
    group: String,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

impl Database {
    fn read() -> Result<Self, UserError> {
        let read = |path: &'static str| {
            std::fs::read(Path::new(path))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|source| UserError::Database { path, source })
        };
        Ok(Self { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
    }

    fn find(&self, text: &str) -> Result<UserIds, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        // As everywhere, a name that consists of digits is found before a number.
        let number = user.parse::<u32>().ok();
        let account = self.account(|account| account.name == user);
        let account = account.or_else(|| self.account(|account| Some(account.uid) == number));
        let gid = group.map(|group| self.gid(group)).transpose()?;
        let (uid, gid) = match (&account, number, gid) {
            (Some(account), _, gid) => (account.uid, gid.unwrap_or(account.gid)),
            (None, Some(uid), Some(gid)) => (uid, gid),
            (None, Some(uid), None) => return Err(UserError::NoPrimaryGroup(uid)),
            (None, None, _) => return Err(UserError::NoUser(user.to_owned())),
        };
        let mut groups = account.map(|account| self.groups_of(account.name)).unwrap_or_default();
        groups.push(gid);
        groups.sort_unstable();
        groups.dedup();
        Ok(UserIds { uid, gid, groups })
    }

    fn account(&self, wanted: impl Fn(&Account<'_>) -> bool) -> Option<Account<'_>> {
        self.passwd.lines().filter_map(account).find(wanted)
    }

    fn gid(&self, group: &str) -> Result<u32, UserError> {
        let named = self.groups().find(|(name, _, _)| *name == group).map(|(_, gid, _)| gid);
        named.or_else(|| group.parse().ok()).ok_or_else(|| UserError::NoGroup(group.to_owned()))
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        let member = |members: &str| members.split(',').any(|member| member.trim() == user);
        self.groups().filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid).collect()
    }

    /// Name, id and members of each.
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }
}

fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database {
            passwd:
                "root:x:0:0:root:/root:/bin/sh\n# note\nweb:x:33:33::/var/www:/bin/false\n4242:x:50:60::/:\nbroken\n"
                    .to_owned(),
            group: "root:x:0:\nweb:x:33:\nadm:x:4:syslog, web\nssl:x:105:web\nshort:x:9\n".to_owned(),
        }
    }

    fn ids(uid: u32, gid: u32, groups: &[u32]) -> UserIds {
        UserIds { uid, gid, groups: groups.to_vec() }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let database = database();
        for (text, expected) in [
            ("root", ids(0, 0, &[0])),
            ("web", ids(33, 33, &[4, 33, 105])),
            ("33", ids(33, 33, &[4, 33, 105])),
            ("web:adm", ids(33, 4, &[4, 105])),
            ("web:7", ids(33, 7, &[4, 7, 105])),
            ("1234:1234", ids(1234, 1234, &[1234])),
            ("4242", ids(50, 60, &[60])),
            ("root:short", ids(0, 9, &[9])),
        ] {
            assert_eq!(database.find(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn who_is_not_there_is_named() {
        let database = database();
        for (text, part) in [
            ("nobody", "user \"nobody\""),
            ("web:none", "group \"none\""),
            ("777", "write user id and group id"),
            ("", "user \"\""),
        ] {
            let message = database.find(text).unwrap_err().to_string();
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }

    #[test]
    fn denied_ids_count_for_every_group() {
        let (uids, gids): (IdRanges, IdRanges) = ("0, 10-20".parse().unwrap(), "105".parse().unwrap());
        let denied = Denied { uids: &uids, gids: &gids };
        denied.check(&ids(21, 21, &[21])).unwrap();
        assert!(denied.check(&ids(15, 21, &[])).is_err());
        assert!(denied.check(&ids(21, 105, &[])).is_err());
        assert!(denied.check(&ids(33, 33, &[4, 33, 105])).is_err());
        assert!(
            "1-".parse::<IdRanges>().is_err() && "a".parse::<IdRanges>().is_err() && "9-1".parse::<IdRanges>().is_err()
        );
        assert_eq!("".parse::<IdRanges>().unwrap(), IdRanges::default());
    }
}
