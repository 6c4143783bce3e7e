//! An allocation's directory, a scratch directory, and a fetcher over them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_artifact::{Config, Error, Fetcher, Mode, Request, destination};
use tempfile::TempDir;

pub(crate) struct World {
    dir: TempDir,
    pub(crate) config: Config,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        // The child is nobody where the tests run as root.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(dir.path().join("alloc/web/local")).unwrap();
        let mut config = Config::new(env!("CARGO_BIN_EXE_orch-artifact-test-child"), dir.path().join("scratch"));
        config.backoff = Duration::from_millis(1);
        Self { dir, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("alloc")
    }

    /// Where artifacts go unless a test says otherwise.
    pub(crate) fn local(&self, name: &str) -> PathBuf {
        self.path("alloc/web/local").join(name)
    }

    pub(crate) fn request(&self, source: impl Into<String>) -> Request {
        Request { source: source.into(), destination: self.at("local/"), root: self.root(), ..Request::default() }
    }

    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        destination(&self.path("alloc/web"), &self.root(), relative).unwrap()
    }

    pub(crate) async fn fetch(&self, request: Request) -> Result<(), Error> {
        let result = Fetcher::new(self.config.clone()).fetch(request).await;
        self.assert_scratch_is_empty();
        result
    }

    /// Fetches what must fail, and says how.
    pub(crate) async fn refused(&self, request: Request) -> Error {
        let source = request.source.clone();
        let error = self.fetch(request).await.err().unwrap_or_else(|| panic!("{source} was fetched"));
        assert!(files(&self.root()).is_empty(), "{source} left {:?} after {error}", files(&self.root()));
        error
    }

    pub(crate) fn assert_scratch_is_empty(&self) {
        let scratch = self.path("scratch");
        let left: Vec<_> =
            fs::read_dir(scratch).map(|entries| entries.flatten().map(|e| e.path()).collect()).unwrap_or_default();
        assert!(left.is_empty(), "{left:?} is left");
    }
}

/// All that is no directory below a path, relative to it, in order.
pub(crate) fn files(root: &Path) -> Vec<String> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

pub(crate) fn options(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub(crate) fn as_file(world: &World, source: impl Into<String>, relative: &str) -> Request {
    Request { mode: Mode::File, destination: world.at(relative), ..world.request(source) }
}
