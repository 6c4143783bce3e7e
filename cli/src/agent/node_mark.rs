//! The mark of what belongs to this node on its machine: its id, which drivers need before the client starts.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use uuid::Uuid;

/// The id in the file where the client keeps it; minted there if there is none yet.
///
/// What stands in the file is checked by the client, which reads it after us.
pub(super) fn load(state_dir: &Path) -> io::Result<String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let path = state_dir.join("client-id");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = Uuid::new_v4().to_string();
            let part = path.with_extension("part");
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            file.write_all(id.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("client");
        let first = load(&state).unwrap();
        assert!(Uuid::try_parse(&first).is_ok());
        assert_eq!(load(&state).unwrap(), first);
    }
}
