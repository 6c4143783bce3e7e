//! Who this node is: an id and a secret, minted once with its state directory.
//!
//! Each is kept in two files, so that damage to one costs nothing: a node that forgot its id would leave tasks behind that
//! nobody knows any more. Only when both are lost is a new one minted, which makes the machine another node.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use orch_model::NodeId;
use tracing::warn;
use uuid::Uuid;

use crate::error::Error;

/// The node's id, and the proof that a message comes from it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) node_id: NodeId,
    pub(crate) secret: orch_model::ids::Secret<String>,
}

/// The id of the node whose state is in `state_dir`, minted if there is none yet.
///
/// Drivers mark with it what is theirs, before the client starts. Blocks.
///
/// # Errors
///
/// If the directory cannot be made or written to.
pub fn node_id(state_dir: &Path) -> Result<NodeId, Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(Error::io("create", state_dir))?;
    Ok(NodeId::from_uuid(load_uuid(&state_dir.join("client-id"))?))
}

impl Identity {
    /// Reads the identity kept in `state_dir`, or mints one.
    pub(crate) fn load(state_dir: &Path) -> Result<Self, Error> {
        let node_id = node_id(state_dir)?;
        let secret = load_uuid(&state_dir.join("secret-id"))?;
        Ok(Self { node_id, secret: orch_model::ids::Secret::new(secret.to_string()) })
    }
}

/// What one of the two files holds.
enum Found {
    Id(Uuid),
    Nothing,
    Damage,
}

fn load_uuid(path: &Path) -> Result<Uuid, Error> {
    let copy = path.with_extension("copy");
    let id = match (read(path), read(&copy)) {
        (Found::Id(id), Found::Id(_)) => return Ok(id),
        (Found::Id(id), Found::Nothing | Found::Damage) | (Found::Nothing | Found::Damage, Found::Id(id)) => id,
        (Found::Nothing, Found::Nothing) => Uuid::new_v4(),
        (Found::Damage, Found::Damage | Found::Nothing) | (Found::Nothing, Found::Damage) => {
            warn!(path = %path.display(), "the node's identity is damaged, also its copy: this machine becomes another node");
            Uuid::new_v4()
        }
    };
    for file in [copy, path.to_owned()] {
        write(&file, id).map_err(Error::io("write", &file))?;
    }
    Ok(id)
}

fn read(path: &Path) -> Found {
    match fs::read(path) {
        Ok(bytes) => std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| Uuid::try_parse(text.trim()).ok())
            .map_or(Found::Damage, Found::Id),
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
        Err(error) => {
            warn!(path = %path.display(), %error, "a part of the node's identity cannot be read");
            Found::Damage
        }
    }
}

/// Writes an id beside the place and moves it there, so that a crash leaves no half of one.
fn write(path: &Path, id: Uuid) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(id.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_minted_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load(dir.path()).unwrap();
        let second = Identity::load(dir.path()).unwrap();
        assert_eq!(first.node_id, second.node_id);
        assert_eq!(first.secret, second.secret);
        assert_eq!(node_id(dir.path()).unwrap(), first.node_id);
        for name in ["secret-id", "secret-id.copy"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn damage_to_one_file_costs_nothing_and_is_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let first = node_id(dir.path()).unwrap();
        for name in ["client-id", "client-id.copy", "client-id"] {
            fs::write(dir.path().join(name), b"\xff nonsense").unwrap();
            assert_eq!(node_id(dir.path()).unwrap(), first);
        }
    }

    #[test]
    fn a_node_that_lost_both_files_becomes_another() {
        let dir = tempfile::tempdir().unwrap();
        let first = node_id(dir.path()).unwrap();
        for name in ["client-id", "client-id.copy"] {
            fs::write(dir.path().join(name), "nonsense").unwrap();
        }
        let second = node_id(dir.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(node_id(dir.path()).unwrap(), second);
    }
}
