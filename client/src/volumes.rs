//! The host volumes of this node: those of its configuration, and those that were made or taken over on request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orch_http::local::{HostVolumeInfo, HostVolumeRequest};
use orch_http::{Error, Kind};
use orch_model::HostVolumeId;
use orch_model::node::{NodeDescription, NodeVolume};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::config::{Config, HostVolume};
use crate::state::LocalState;

/// The plugin that makes a directory for each volume.
const MKDIR: &str = orch_model::HostVolume::MKDIR;
/// What of it jobs and volumes can constrain.
const MKDIR_ATTRIBUTE: (&str, &str) = ("plugins.host_volume.mkdir.version", "1.0.0");
/// The mode of a directory whose request names none.
const MODE: u32 = 0o700;

/// A dynamic host volume, as it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredVolume {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) path: PathBuf,
    /// Whether the directory was made here, and so is removed with the volume.
    pub(crate) made: bool,
}

/// A volume that a task can mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundVolume {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
}

/// The host volumes of this node; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Volumes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    configured: BTreeMap<String, HostVolume>,
    dir: PathBuf,
    state: LocalState,
    /// One change at a time, file system and all.
    dynamic: Mutex<BTreeMap<HostVolumeId, StoredVolume>>,
}

impl Volumes {
    /// The volumes of `config`, and those that are remembered.
    pub(crate) fn new(config: &Config, state: LocalState, remembered: BTreeMap<HostVolumeId, StoredVolume>) -> Self {
        let inner = Inner {
            configured: config.host_volumes.clone(),
            dir: config.host_volumes_dir.clone(),
            state,
            dynamic: Mutex::new(remembered),
        };
        Self(Arc::new(inner))
    }

    /// The volume that jobs of `namespace` call `name`.
    pub(crate) fn find(&self, name: &str, namespace: &str) -> Option<FoundVolume> {
        if let Some(HostVolume { path, read_only }) = self.0.configured.get(name) {
            return Some(FoundVolume { path: path.clone(), read_only: *read_only });
        }
        let dynamic = self.lock();
        let found = dynamic.values().find(|volume| volume.name == name && volume.namespace == namespace)?;
        Some(FoundVolume { path: found.path.clone(), read_only: false })
    }

    /// Takes over into the node's description what there is. One whose directory is missing is left out and logged.
    pub(crate) fn describe(&self, node: &mut NodeDescription) {
        let shown = |path: &Path, read_only, id| NodeVolume { path: path.to_string_lossy().into(), read_only, id };
        let configured = self.0.configured.iter();
        let configured = configured.map(|(name, volume)| (name.clone(), &volume.path, volume.read_only, None));
        let dynamic = self.lock();
        let made = dynamic.iter().map(|(id, volume)| (volume.name.clone(), &volume.path, false, Some(*id)));
        node.host_volumes.clear();
        for (name, path, read_only, id) in made.chain(configured) {
            if path.exists() {
                node.host_volumes.insert(name, shown(path, read_only, id));
            } else {
                warn!(volume = name, path = %path.display(), "a host volume is not offered: its directory is not there");
            }
        }
        let (key, version) = MKDIR_ATTRIBUTE;
        node.attributes.insert(key.to_owned(), version.to_owned());
    }

    /// Makes a volume, or takes one over; may be repeated. May block.
    pub(crate) fn create(&self, request: &HostVolumeRequest) -> Result<HostVolumeInfo, Error> {
        let id: HostVolumeId = request
            .id
            .parse()
            .map_err(|_| Error::invalid(format!("{:?} is no id of a volume: it must be a UUID", request.id)))?;
        let mut dynamic = self.lock();
        if let Some(known) = dynamic.get(&id).filter(|known| known.path.is_dir()) {
            return Ok(info(&known.path));
        }
        let taken = self.0.configured.contains_key(&request.name)
            || dynamic.iter().any(|(other, volume)| *other != id && volume.name == request.name);
        if taken {
            let message = format!("this node has another host volume called {:?}", request.name);
            return Err(Error::new(Kind::Conflict, message));
        }
        let made = request.host_path.is_empty();
        let path = if made { self.make(id, request)? } else { existing(&request.host_path)? };
        let volume =
            StoredVolume { name: request.name.clone(), namespace: request.namespace.clone(), path: path.clone(), made };
        self.0.state.put_volume(id, &volume);
        dynamic.insert(id, volume);
        info!(volume_id = %id, volume = request.name, path = %path.display(), made, "a host volume was created");
        Ok(info(&path))
    }

    /// Removes a volume, with its directory if that was made here; may be repeated. May block.
    pub(crate) fn delete(&self, id: HostVolumeId) -> Result<(), Error> {
        let mut dynamic = self.lock();
        let Some(volume) = dynamic.get(&id) else { return Ok(()) };
        // Nothing else is ever removed, whatever was remembered.
        if volume.made && volume.path == self.0.dir.join(id.to_string()) {
            match fs::remove_dir_all(&volume.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed("remove", &volume.path, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        info!(volume_id = %id, volume = volume.name, path = %volume.path.display(), "a host volume was deleted");
        self.0.state.forget_volume(id);
        dynamic.remove(&id);
        Ok(())
    }

    fn make(&self, id: HostVolumeId, request: &HostVolumeRequest) -> Result<PathBuf, Error> {
        if request.plugin_id != MKDIR {
            let message =
                format!("this node has no host volume plugin {:?}: the built-in one is \"{MKDIR}\"", request.plugin_id);
            return Err(Error::invalid(message));
        }
        let owner = Owner::read(&request.parameters)?;
        let path = self.0.dir.join(id.to_string());
        fs::create_dir_all(&path).map_err(|error| failed("make", &path, &error))?;
        let set = owner.apply(&path);
        if let Err(error) = set {
            // An empty directory that nobody can use is of no use to anyone.
            let _left_behind = fs::remove_dir(&path);
            return Err(error);
        }
        Ok(path)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostVolumeId, StoredVolume>> {
        self.0.dynamic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who may use a directory that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
}

impl Owner {
    fn read(parameters: &BTreeMap<String, String>) -> Result<Self, Error> {
        let known = BTreeSet::from(["uid", "gid", "mode"]);
        if let Some(unknown) = parameters.keys().find(|key| !known.contains(key.as_str())) {
            return Err(Error::invalid(format!(
                "the plugin \"{MKDIR}\" has no parameter {unknown:?}: it has uid, gid, mode"
            )));
        }
        let number = |key: &str, radix: u32, most: u32| match parameters.get(key) {
            None => Ok(None),
            Some(text) => match u32::from_str_radix(text, radix) {
                Ok(number) if number <= most => Ok(Some(number)),
                Ok(_) | Err(_) => {
                    Err(Error::invalid(format!("{text:?} is no {key} that the plugin \"{MKDIR}\" can use")))
                }
            },
        };
        Ok(Self {
            uid: number("uid", 10, u32::MAX - 1)?,
            gid: number("gid", 10, u32::MAX - 1)?,
            mode: number("mode", 8, 0o7777)?.unwrap_or(MODE),
        })
    }

    fn apply(&self, path: &Path) -> Result<(), Error> {
        std::os::unix::fs::chown(path, self.uid, self.gid)
            .map_err(|error| failed("change the owner of", path, &error))?;
        let mode = Permissions::from_mode(self.mode);
        fs::set_permissions(path, mode).map_err(|error| failed("set the mode of", path, &error))
    }
}

fn existing(path: &str) -> Result<PathBuf, Error> {
    let found = PathBuf::from(path);
    if found.is_absolute() && found.is_dir() {
        return Ok(found);
    }
    Err(Error::invalid(format!(
        "{path:?} is no directory of this node: make it first, and name it by its absolute path"
    )))
}

fn info(path: &Path) -> HostVolumeInfo {
    HostVolumeInfo { path: path.to_string_lossy().into(), capacity_bytes: 0 }
}

fn failed(action: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("cannot {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    struct Node {
        dir: tempfile::TempDir,
        config: Config,
    }

    impl Node {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut config = Config::new(dir.path().join("state"), dir.path().join("alloc"));
            fs::create_dir(&config.state_dir).unwrap();
            let certs = HostVolume { path: dir.path().to_owned(), read_only: true };
            config.host_volumes.insert("certs".to_owned(), certs);
            Self { dir, config }
        }

        fn volumes(&self) -> Volumes {
            let (state, remembered) = LocalState::open(&self.config).unwrap();
            Volumes::new(&self.config, state, remembered.volumes)
        }
    }

    fn request(number: u128, name: &str) -> HostVolumeRequest {
        HostVolumeRequest {
            id: Uuid::from_u128(number).to_string(),
            name: name.to_owned(),
            namespace: "default".to_owned(),
            plugin_id: MKDIR.to_owned(),
            parameters: BTreeMap::from([("mode".to_owned(), "0751".to_owned())]),
            ..HostVolumeRequest::default()
        }
    }

    fn id(number: u128) -> HostVolumeId {
        HostVolumeId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn a_volume_is_made_once_outlives_the_agent_and_goes_with_its_data() {
        let node = Node::new();
        let volumes = node.volumes();
        let first = volumes.create(&request(1, "data")).unwrap();
        let path = PathBuf::from(&first.path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o751);
        fs::write(path.join("rows"), "1").unwrap();
        assert_eq!(volumes.create(&request(1, "data")).unwrap().path, first.path);
        drop(volumes);

        let volumes = node.volumes();
        let mut description = NodeDescription::default();
        volumes.describe(&mut description);
        assert_eq!(description.host_volumes["data"].id, Some(id(1)));
        assert!(description.host_volumes["certs"].read_only);
        assert_eq!(volumes.find("data", "default").map(|found| found.path), Some(path.clone()));
        assert_eq!(volumes.find("data", "other"), None);
        volumes.delete(id(1)).unwrap();
        volumes.delete(id(1)).unwrap();
        assert!(!path.exists());
        drop(volumes);
        assert!(node.volumes().find("data", "default").is_none());
    }

    #[test]
    fn a_directory_that_was_taken_over_stays_when_its_volume_goes() {
        let node = Node::new();
        let volumes = node.volumes();
        let path = node.dir.path().join("theirs");
        let taken = HostVolumeRequest { host_path: path.display().to_string(), ..request(2, "theirs") };
        assert_eq!(volumes.create(&taken).unwrap_err().kind(), Kind::Invalid, "it is not there yet");
        fs::create_dir(&path).unwrap();
        volumes.create(&taken).unwrap();
        volumes.delete(id(2)).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn what_cannot_be_made_is_refused_and_leaves_nothing() {
        let node = Node::new();
        let volumes = node.volumes();
        volumes.create(&request(1, "data")).unwrap();
        let with = |key: &str, value: &str| HostVolumeRequest {
            parameters: BTreeMap::from([(key.to_owned(), value.to_owned())]),
            ..request(3, "new")
        };
        for (refused, kind) in [
            (request(3, "data"), Kind::Conflict),
            (request(3, "certs"), Kind::Conflict),
            (HostVolumeRequest { plugin_id: "zfs".into(), ..request(3, "new") }, Kind::Invalid),
            (HostVolumeRequest { id: "../x".into(), ..request(3, "new") }, Kind::Invalid),
            (with("mode", "99"), Kind::Invalid),
            (with("uid", "-1"), Kind::Invalid),
            (with("size", "1"), Kind::Invalid),
        ] {
            assert_eq!(volumes.create(&refused).unwrap_err().kind(), kind, "{refused:?}");
        }
        assert_eq!(fs::read_dir(&node.config.host_volumes_dir).unwrap().count(), 1);
    }
}
