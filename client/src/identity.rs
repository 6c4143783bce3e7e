//! Who this node is: an id and a secret, minted once with its state directory.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use orch_model::NodeId;
use uuid::Uuid;

use crate::error::Error;

/// The node's id, and the proof that a message comes from it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) node_id: NodeId,
    pub(crate) secret: orch_model::ids::Secret<String>,
}

impl Identity {
    /// Reads the identity kept in `state_dir`, or mints one.
    pub(crate) fn load(state_dir: &Path) -> Result<Self, Error> {
        let node_id = load_uuid(&state_dir.join("client-id"))?;
        let secret = load_uuid(&state_dir.join("secret-id"))?;
        Ok(Self { node_id: NodeId::from_uuid(node_id), secret: orch_model::ids::Secret::new(secret.to_string()) })
    }
}

fn load_uuid(path: &Path) -> Result<Uuid, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Uuid::try_parse(text.trim()).map_err(|_| Error::InvalidIdentity { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => mint(path),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Writes a new id beside the place and moves it there, so that a crash leaves no half of one.
fn mint(path: &Path) -> Result<Uuid, Error> {
    let id = Uuid::new_v4();
    let part = path.with_extension("part");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(id.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(Error::io("write", path))?;
    Ok(id)
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
        let mode = fs::metadata(dir.path().join("secret-id")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join("client-id"), "nonsense").unwrap();
        let error = Identity::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("client-id does not hold a UUID"), "{error}");
    }
}
