//! From an order to what stands in the scratch directory: attempts, then checksum, then unpacking.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::{digest, git, http, local, s3};
use crate::dir::{Dir, Kind};
use crate::order::{Failure, FailureKind, OUT, Order, Product};
use crate::request::Mode;
use crate::source::Place;
use crate::unpack;

/// Where a single file is downloaded to, below the scratch directory.
pub(super) const DOWNLOAD: &str = "download";

const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// What a source turned out to be.
pub(super) enum Got {
    /// [`DOWNLOAD`] is the file.
    File,
    /// [`OUT`] has the tree.
    Tree,
}

pub(super) async fn carry_out(order: &Order) -> Result<Product, Failure> {
    let got = match &order.source.place {
        Place::Http { url } => {
            attempts(order, || http::download(order, url)).await?;
            Got::File
        }
        Place::Git(git) => {
            within(order.limits.git_timeout, attempts(order, || git::fetch(order, git))).await?;
            Got::Tree
        }
        Place::S3(s3) => within(order.limits.s3_timeout, attempts(order, || s3::fetch(order, s3))).await?,
        Place::File { path } => local::fetch(order, path)?,
    };
    match got {
        Got::File => {
            if let Some(checksum) = &order.source.checksum {
                digest::verify(order, checksum).await?;
            }
            finish_file(order)
        }
        Got::Tree if order.source.checksum.is_some() => {
            Err(Failure::new(FailureKind::Malformed, "a directory has no checksum"))
        }
        Got::Tree if order.mode == Mode::File && order.source.subdirectory.is_none() => {
            Err(Failure::new(FailureKind::Malformed, "it is a directory: mode \"file\" cannot hold it"))
        }
        Got::Tree => finish_tree(order),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(Failure::new(FailureKind::TooSlow { limit }, String::new())))
}

/// Tries until it works, or an error is not transient, or the attempts are used up.
pub(super) async fn attempts<T, F>(order: &Order, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let most = order.limits.attempts.max(1);
    let mut backoff = order.limits.backoff;
    for _ in 1..most {
        match attempt().await {
            Err(failure) if failure.kind == FailureKind::Transient => {}
            result => return result,
        }
        // Half of it by chance, so that tasks that failed together do not come back together.
        tokio::time::sleep(backoff.mul_f64(rand::random_range(0.5..=1.0))).await;
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
    let tries = if most == 1 { String::new() } else { format!(" (tried {most} times)") };
    attempt().await.map_err(|failure| match failure.kind {
        FailureKind::Transient => Failure::fetch(format!("{}{tries}", failure.reason)),
        _other => failure,
    })
}

fn finish_file(order: &Order) -> Result<Product, Failure> {
    let named = match order.source.filename.as_str() {
        "" => DOWNLOAD,
        name => name,
    };
    let Some(archive) = order.source.archive else {
        if order.source.subdirectory.is_some() {
            return Err(Failure::new(FailureKind::Malformed, "it is a single file and has no subdirectory"));
        }
        if order.mode == Mode::Dir {
            return Err(Failure::new(FailureKind::Malformed, "it is a single file: mode \"dir\" cannot hold it"));
        }
        fs::rename(DOWNLOAD, Path::new(OUT).join(named)).map_err(Failure::local("cannot move what was fetched"))?;
        return Ok(Product::File { path: named.to_owned() });
    };
    let packed = File::open(DOWNLOAD).map_err(Failure::local("cannot open what was fetched"))?;
    let out = Dir::open(Path::new(OUT)).map_err(Failure::local("cannot open its directory"))?;
    let named = archive.unpacked_name(named);
    unpack::unpack(archive, packed, &out, &named, &order.limits)?;
    fs::remove_file(DOWNLOAD).map_err(Failure::local("cannot remove an unpacked archive"))?;
    if archive.is_tree() { finish_tree(order) } else { Ok(Product::File { path: named }) }
}

fn finish_tree(order: &Order) -> Result<Product, Failure> {
    let out = Dir::open(Path::new(OUT)).map_err(Failure::local("cannot open its directory"))?;
    let (path, kind) = match &order.source.subdirectory {
        None => (String::new(), Kind::Dir),
        Some(wanted) => find(out, wanted)?,
    };
    match (kind, order.mode) {
        (Kind::File, Mode::Any | Mode::File) => Ok(Product::File { path }),
        (Kind::Dir, Mode::Any | Mode::Dir) => Ok(Product::Tree { path }),
        (Kind::Dir, Mode::File) => only_file(&path).map(|path| Product::File { path }),
        (Kind::File, Mode::Dir) => Err(Failure::content(format!("its {path:?} is a file, and mode is \"dir\""))),
        (Kind::Link | Kind::Other, _) => {
            Err(Failure::content(format!("its {path:?} is neither a directory nor a file")))
        }
    }
}

/// Goes to a path, the parts of which may have `*` and `?` where exactly one name fits.
fn find(out: Dir, wanted: &str) -> Result<(String, Kind), Failure> {
    let missing = |part: &str| Failure::fetch(format!("it has no {wanted:?}: there is no {part:?}"));
    let local = |error| Failure::local("cannot look into what was fetched")(error);
    let (mut at, mut found) = (out, Vec::new());
    let mut kind = Kind::Dir;
    for part in wanted.split('/') {
        if kind != Kind::Dir {
            return Err(missing(part));
        }
        let names = at.names().map_err(local)?;
        let mut fitting = names.iter().filter(|name| {
            name.as_os_str() == OsStr::new(part)
                || name.to_str().is_some_and(|name| fits(part.as_bytes(), name.as_bytes()))
        });
        let name: OsString = match (fitting.next(), fitting.next()) {
            (Some(name), None) => name.clone(),
            (None, _) => return Err(missing(part)),
            (Some(_), Some(_)) => return Err(Failure::fetch(format!("several of its names fit {part:?}"))),
        };
        kind = at.kind(&name).map_err(local)?.ok_or_else(|| missing(part))?;
        if kind == Kind::Dir {
            at = at.enter(&name).map_err(local)?;
        }
        found.push(name.into_string().map_err(|_| missing(part))?);
    }
    Ok((found.join("/"), kind))
}

/// Whether a name fits a pattern of `*`, `?` and plain characters.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        Some((b'?', rest)) => name.split_first().is_some_and(|(_, left)| fits(rest, left)),
        Some((plain, rest)) => name.split_first().is_some_and(|(first, left)| first == plain && fits(rest, left)),
    }
}

/// The one file below a directory.
fn only_file(below: &str) -> Result<String, Failure> {
    let several = || Failure::content("it does not hold exactly one file, as mode \"file\" needs");
    let mut at = below.to_owned();
    loop {
        let dir = Dir::open(&Path::new(OUT).join(&at)).map_err(Failure::local("cannot look into what was fetched"))?;
        let names = dir.names().map_err(Failure::local("cannot look into what was fetched"))?;
        let [name] = names.as_slice() else { return Err(several()) };
        let kind = dir.kind(name).map_err(Failure::local("cannot look into what was fetched"))?;
        let name = name.to_str().ok_or_else(several)?;
        at = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        match kind {
            Some(Kind::File) => return Ok(at),
            Some(Kind::Dir) => {}
            Some(Kind::Link | Kind::Other) | None => return Err(several()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_fit_any_run_and_question_marks_one_character() {
        for (pattern, name, expected) in [
            ("foo-*", "foo-1.2", true),
            ("*-1.?", "foo-1.2", true),
            ("foo", "foo1", false),
            ("f?o", "fo", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
