//! What the bytes of a file must add up to.

use reqwest::Url;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Checksum {
    Digest(Digest),
    /// A file that lists digests, in the format of `sha256sum`, plain or with `--tag`.
    Listed {
        url: String,
    },
}

/// A digest in lower-case hexadecimal; its length tells the kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest(String);

impl Checksum {
    /// Reads `sha256:<hex>`, `<hex>` or `file:<address>`; the error is a part of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(address) = text.strip_prefix("file:") {
            let url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let url = url.ok_or_else(|| format!("the checksum file {address:?} is not an http(s) address"))?;
            return Ok(Self::Listed { url: url.into() });
        }
        let refuse = || {
            format!(
                "the checksum {text:?} is not <type>:<hex> with type md5, sha1, sha256 or sha512, nor file:<address>"
            )
        };
        let (kind, hex) = text.split_once(':').map_or((None, text), |(kind, hex)| (Some(kind), hex));
        let digest = Digest::new(hex).ok_or_else(refuse)?;
        if kind.is_some_and(|kind| kind != digest.kind()) {
            return Err(refuse());
        }
        Ok(Self::Digest(digest))
    }
}

impl Digest {
    fn new(hex: &str) -> Option<Self> {
        let fits = matches!(hex.len(), 32 | 40 | 64 | 128) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(hex.to_ascii_lowercase()))
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self.0.len() {
            32 => "md5",
            40 => "sha1",
            64 => "sha256",
            _ => "sha512",
        }
    }

    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

/// The digest of `name` in a listing; a listing of one bare digest is about any file.
pub(crate) fn from_listing(listing: &str, name: &str) -> Option<Digest> {
    let mut lines = listing.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let of_name = lines.clone().find_map(|line| {
        // `SHA256 (name) = hex`, as `--tag` writes it.
        if let Some((front, hex)) = line.rsplit_once(" = ") {
            let listed = front.split_once(" (").and_then(|(_, rest)| rest.strip_suffix(')'))?;
            return (base(listed) == name).then(|| Digest::new(hex)).flatten();
        }
        let (hex, listed) = line.split_once(char::is_whitespace)?;
        (base(listed.trim_start().trim_start_matches('*')) == name).then(|| Digest::new(hex)).flatten()
    });
    of_name.or_else(|| match (lines.next(), lines.next()) {
        (Some(only), None) => Digest::new(only),
        _ => None,
    })
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
