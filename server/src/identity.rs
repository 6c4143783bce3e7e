//! Who this server is: the files of its data directory that say so.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::RwLock;

use orch_model::ids::ClusterId;
use orch_model::{RaftId, document};
use orch_proto::v1::{BlankPeer, Envelope};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The layout of the data directory that this build writes, and the newest it reads.
pub const LAYOUT: u32 = 1;

/// Who this server is.
///
/// The raft id is minted with the data directory and never reused. The cluster id is written before anything is said or
/// heard in a cluster's name, and never changes after: a directory that was ever in a cluster never forms another.
#[derive(Debug)]
pub struct Identity {
    dir: PathBuf,
    raft_id: RaftId,
    cluster: RwLock<Option<Membership>>,
}

/// What a server promised or joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Membership {
    cluster_id: ClusterId,
    /// The set it promised to be formed into; `None` once the cluster is known to exist.
    forming: Option<Forming>,
}

/// The servers that are to form a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forming {
    /// Who initialises: the lowest id.
    pub initialiser: u64,
    /// Everyone, by raft id, with the address.
    pub members: Vec<(u64, String)>,
}

impl Forming {
    /// The set as another server names it.
    pub fn from_wire(initialiser: u64, members: &[BlankPeer]) -> Self {
        let members = members.iter().map(|peer| (peer.raft_id, peer.rpc_addr.clone())).collect();
        Self { initialiser, members }
    }
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file does not say what it should.
    #[error("{} is damaged: {what}; restore it from a backup, or start this server with an empty data directory", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The directory was written by a newer version.
    #[error(
        "the data directory {} has layout {found}, this build knows layouts up to {LAYOUT}: run a newer orch",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// This server belongs elsewhere already.
    #[error("this server belongs to cluster {own}, not to {other}")]
    OtherCluster {
        /// The cluster it belongs to.
        own: ClusterId,
        /// The cluster it was asked for.
        other: ClusterId,
    },
}

impl Identity {
    /// Reads the identity in `dir`, or mints one there. Blocks.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| error("create", dir, source))?;
        check_layout(dir)?;
        let raft_id = match read(&dir.join("raft-id"))? {
            Some(text) => parse_raft_id(&dir.join("raft-id"), &text)?,
            None => mint_raft_id(&dir.join("raft-id"))?,
        };
        let cluster = match read(&dir.join("cluster"))? {
            Some(text) => Some(
                serde_json::from_str(&text)
                    .map_err(|error| Error::Damaged { path: dir.join("cluster"), what: error.to_string() })?,
            ),
            None => None,
        };
        Ok(Self { dir: dir.to_owned(), raft_id, cluster: RwLock::new(cluster) })
    }

    /// This server's raft id.
    pub const fn raft_id(&self) -> RaftId {
        self.raft_id
    }

    /// The cluster that this server belongs to, or promised to be formed into.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.membership().map(|membership| membership.cluster_id)
    }

    /// The set that it promised to be formed into, if that has not come to be yet.
    pub fn forming(&self) -> Option<(ClusterId, Forming)> {
        self.membership().and_then(|membership| Some((membership.cluster_id, membership.forming?)))
    }

    fn membership(&self) -> Option<Membership> {
        self.cluster.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Promises to be formed into `forming`, durably; an earlier promise of something else stands against it. Blocks.
    pub fn promise(&self, cluster_id: ClusterId, forming: Forming) -> Result<(), Error> {
        let wanted = Membership { cluster_id, forming: Some(forming) };
        let mut current = self.cluster.write().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(own) if *own == wanted => Ok(()),
            Some(own) => Err(Error::OtherCluster { own: own.cluster_id, other: cluster_id }),
            None => {
                self.store(&wanted)?;
                *current = Some(wanted);
                Ok(())
            }
        }
    }

    /// Notes, durably, that this server belongs to a cluster that exists. Blocks.
    pub fn belong(&self, cluster_id: ClusterId) -> Result<(), Error> {
        let wanted = Membership { cluster_id, forming: None };
        let mut current = self.cluster.write().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(own) if *own == wanted => Ok(()),
            Some(own) if own.cluster_id != cluster_id => {
                Err(Error::OtherCluster { own: own.cluster_id, other: cluster_id })
            }
            Some(_) | None => {
                self.store(&wanted)?;
                *current = Some(wanted);
                Ok(())
            }
        }
    }

    fn store(&self, membership: &Membership) -> Result<(), Error> {
        let path = self.dir.join("cluster");
        let text =
            serde_json::to_string(membership).map_err(|source| error("write", &path, io::Error::other(source)))?;
        write(&path, &text)
    }

    /// `value` as a document in this server's name.
    pub fn envelope<T: Serialize>(&self, value: &T) -> Result<Envelope, document::Error> {
        Ok(Envelope {
            cluster_id: self.cluster_id().map(|id| id.to_string()).unwrap_or_default(),
            from: self.raft_id.0,
            document: document::encode(value)?,
        })
    }
}

/// What went wrong with a file.
pub(crate) fn error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

/// The text of a small file, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error("read", path, source)),
    }
}

/// Writes a small file so that it is there whole or not at all, also after a power loss.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part).map_err(|source| error("create", &part, source))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| error("write", &part, source))?;
    fs::rename(&part, path).map_err(|source| error("rename", &part, source))?;
    let dir = path.parent().unwrap_or(path);
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| error("sync", dir, source))
}

fn check_layout(dir: &Path) -> Result<(), Error> {
    let path = dir.join("layout");
    match read(&path)? {
        None => write(&path, &LAYOUT.to_string()),
        Some(text) => match text.trim().parse::<u32>() {
            Ok(found) if found > LAYOUT => Err(Error::Newer { path: dir.to_owned(), found }),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Damaged { path, what: error.to_string() }),
        },
    }
}

fn parse_raft_id(path: &Path, text: &str) -> Result<RaftId, Error> {
    u64::from_str_radix(text.trim(), 16)
        .map(RaftId)
        .map_err(|error| Error::Damaged { path: path.to_owned(), what: error.to_string() })
}

fn mint_raft_id(path: &Path) -> Result<RaftId, Error> {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    let id = RaftId((high ^ low).max(1));
    write(path, &format!("{id}\n"))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forming(members: &[u64]) -> Forming {
        Forming { initialiser: members[0], members: members.iter().map(|id| (*id, format!("10.0.0.{id}:1"))).collect() }
    }

    #[test]
    fn a_server_promises_one_set_only_and_remembers_it() {
        let dir = tempfile::tempdir().unwrap();
        let one = ClusterId::from_uuid(Uuid::from_u128(1));
        let two = ClusterId::from_uuid(Uuid::from_u128(2));
        let identity = Identity::open(dir.path()).unwrap();
        identity.promise(one, forming(&[1, 2, 3])).unwrap();
        identity.promise(one, forming(&[1, 2, 3])).unwrap();
        assert!(identity.promise(two, forming(&[2, 3, 4])).is_err());
        assert!(identity.promise(one, forming(&[1, 2])).is_err());
        let again = Identity::open(dir.path()).unwrap();
        assert_eq!(again.raft_id(), identity.raft_id());
        assert_eq!(again.forming(), Some((one, forming(&[1, 2, 3]))));
        again.belong(one).unwrap();
        assert_eq!(again.forming(), None);
        assert!(again.belong(two).is_err());
    }

    #[test]
    fn a_newer_data_directory_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("layout"), "7").unwrap();
        let error = Identity::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("has layout 7") && error.contains("run a newer orch"), "{error}");
    }

    #[test]
    fn damaged_identity_files_are_named() {
        for file in ["raft-id", "cluster", "layout"] {
            let dir = tempfile::tempdir().unwrap();
            Identity::open(dir.path()).unwrap();
            fs::write(dir.path().join(file), "\u{1}garbage").unwrap();
            let error = Identity::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
    }
}
