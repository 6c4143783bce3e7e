//! Whether what was downloaded is what was asked for.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};

use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::http;
use super::work::{DOWNLOAD, attempts};
use crate::order::{Failure, FailureKind, Order};
use crate::source::{Checksum, Digest, from_listing, shown};

pub(super) async fn verify(order: &Order, checksum: &Checksum) -> Result<(), Failure> {
    let expected = match checksum {
        Checksum::Digest(digest) => digest.clone(),
        Checksum::Listed { url } => {
            let listing = attempts(order, || http::text(order, url)).await;
            let listing = listing.map_err(|failure| Failure {
                reason: format!("its checksum file {}: {}", shown(url), failure.reason),
                ..failure
            })?;
            let name = &order.source.filename;
            from_listing(&listing, name).ok_or_else(|| {
                let reason = format!("the checksum file {} does not list {name:?}", shown(url));
                Failure::new(FailureKind::Checksum, reason)
            })?
        }
    };
    let actual = of_download(&expected).map_err(Failure::local("cannot read what was fetched"))?;
    if actual == expected.hex() {
        return Ok(());
    }
    let reason = format!("its {} is {actual} instead of {}", expected.kind(), expected.hex());
    Err(Failure::new(FailureKind::Checksum, reason))
}

fn of_download(like: &Digest) -> io::Result<String> {
    let file = File::open(DOWNLOAD)?;
    match like.kind() {
        "md5" => digest::<Md5>(file),
        "sha1" => digest::<Sha1>(file),
        "sha256" => digest::<Sha256>(file),
        _ => digest::<Sha512>(file),
    }
}

fn digest<D: sha2::Digest>(mut file: File) -> io::Result<String> {
    let mut digest = D::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(hex)
}
