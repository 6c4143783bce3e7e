//! From this machine's own disk, where the agent allows it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::work::{DOWNLOAD, Got};
use crate::dir::Dir;
use crate::order::{Failure, FailureKind, OUT, Order};
use crate::unpack::{Budget, Tree};

pub(super) fn fetch(order: &Order, path: &Path) -> Result<Got, Failure> {
    let reach = || Failure::local(format!("cannot read {}", path.display()));
    let from = fs::metadata(path).map_err(|error| Failure::fetch(format!("cannot read it: {error}")))?;
    if from.is_dir() {
        let out = Dir::open(Path::new(OUT)).map_err(Failure::local("cannot open its directory"))?;
        copy(path, Path::new(""), &mut Tree::new(&out, Budget::new(&order.limits)))?;
        return Ok(Got::Tree);
    }
    if !from.is_file() {
        return Err(Failure::fetch("it is neither a file nor a directory"));
    }
    let limit = order.limits.download_bytes;
    if limit > 0 && from.len() > limit {
        return Err(Failure::new(FailureKind::TooLarge, format!("it has more than {limit} bytes (http_max_size)")));
    }
    let source = File::open(path).map_err(|error| Failure::fetch(format!("cannot read it: {error}")))?;
    let mut copy = File::create(DOWNLOAD).map_err(reach())?;
    std::io::copy(&mut source.take(from.len()), &mut copy).map_err(reach())?;
    Ok(Got::File)
}

fn copy(root: &Path, below: &Path, tree: &mut Tree<'_>) -> Result<(), Failure> {
    let unread = |path: &Path, error| Failure::fetch(format!("cannot read {}: {error}", path.display()));
    let from = root.join(below);
    for entry in fs::read_dir(&from).map_err(|error| unread(&from, error))? {
        let entry = entry.map_err(|error| unread(&from, error))?;
        let (path, name) = (entry.path(), below.join(entry.file_name()));
        let data = entry.metadata().map_err(|error| unread(&path, error))?;
        let mode = data.permissions().mode();
        if data.is_dir() {
            tree.directory(name.as_os_str(), mode)?;
            copy(root, &name, tree)?;
        } else if data.is_symlink() {
            let target = fs::read_link(&path).map_err(|error| unread(&path, error))?;
            tree.symlink(name.as_os_str(), target.as_os_str())?;
        } else if data.is_file() {
            let mut file = File::open(&path).map_err(|error| unread(&path, error))?;
            drop(tree.file(name.as_os_str(), mode, &mut file)?);
        } else {
            return Err(Failure::content(format!("its {name:?} is a device, a pipe or a socket")));
        }
    }
    Ok(())
}
