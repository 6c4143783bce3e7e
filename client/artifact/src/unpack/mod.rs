//! Unfolding of archives into a directory, within limits and without leaving it.

mod budget;
mod tarball;
mod tree;
mod zipped;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use serde::{Deserialize, Serialize};

pub(crate) use budget::Budget;
pub(crate) use tree::{DEEPEST, Tree, leads_inside};

use crate::dir::Dir;
use crate::order::{Failure, Limits};

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Archive {
    Tar,
    TarGz,
    TarXz,
    TarZst,
    Zip,
    Gz,
    Xz,
    Zst,
}

/// Endings of names, also the values of the option `archive`; the longer come first.
const ENDINGS: [(&str, Option<Archive>); 16] = [
    ("tar.gz", Some(Archive::TarGz)),
    ("tar.xz", Some(Archive::TarXz)),
    ("tar.zst", Some(Archive::TarZst)),
    ("tar.bz2", None),
    ("tgz", Some(Archive::TarGz)),
    ("txz", Some(Archive::TarXz)),
    ("tzst", Some(Archive::TarZst)),
    ("tbz2", None),
    ("tar", Some(Archive::Tar)),
    ("zip", Some(Archive::Zip)),
    ("gz", Some(Archive::Gz)),
    ("xz", Some(Archive::Xz)),
    ("zst", Some(Archive::Zst)),
    ("bz2", None),
    ("rar", None),
    ("7z", None),
];

/// As much as the largest preset of xz needs, and some; an archive cannot ask for more.
const XZ_MEMORY_KIB: u32 = 256 * 1024;
/// 128 MiB, the most that zstd uses without `--long`.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Archive {
    /// How a file of this name is unpacked, given the option `archive`; the error is a part of a sentence.
    pub(crate) fn choose(option: Option<&str>, name: &str) -> Result<Option<Self>, String> {
        match option.unwrap_or_default() {
            "" | "true" | "1" | "t" => {}
            "false" | "0" | "f" | "no" => return Ok(None),
            kind => {
                let known = ENDINGS.iter().find(|(ending, _)| *ending == kind).and_then(|(_, archive)| *archive);
                return known
                    .map(Some)
                    .ok_or_else(|| format!("archive = {kind:?} is not supported: {KINDS}, or false"));
            }
        }
        let name = name.to_ascii_lowercase();
        let ending = |ending: &str| name.strip_suffix(ending).is_some_and(|front| front.ends_with('.'));
        match ENDINGS.iter().find(|(text, _)| ending(text)) {
            None => Ok(None),
            Some((_, Some(archive))) => Ok(Some(*archive)),
            // Files of these two are as often wanted as they are.
            Some(("rar" | "7z", None)) => Ok(None),
            Some((_, None)) => {
                Err(format!("bzip2 is not supported: {KINDS}; the option archive = false leaves the file as it is"))
            }
        }
    }

    /// Whether it holds files by name; else it is one compressed file.
    pub(crate) fn is_tree(self) -> bool {
        match self {
            Self::Tar | Self::TarGz | Self::TarXz | Self::TarZst | Self::Zip => true,
            Self::Gz | Self::Xz | Self::Zst => false,
        }
    }

    /// What the one file in it is called.
    pub(crate) fn unpacked_name(self, name: &str) -> String {
        match name.rsplit_once('.') {
            Some((front, ending))
                if !front.is_empty() && ENDINGS.iter().any(|(text, _)| ending.eq_ignore_ascii_case(text)) =>
            {
                front.to_owned()
            }
            _ => name.to_owned(),
        }
    }
}

const KINDS: &str = "there are tar, tar.gz, tar.xz, tar.zst, zip, gz, xz and zst";

/// Unfolds `packed` into `into`; an archive of one compressed file makes the file `name`.
pub(crate) fn unpack(archive: Archive, packed: File, into: &Dir, name: &str, limits: &Limits) -> Result<(), Failure> {
    let mut tree = Tree::new(into, Budget::new(limits));
    let packed = BufReader::with_capacity(128 * 1024, packed);
    match archive {
        Archive::Tar => tarball::unpack(packed, &mut tree),
        Archive::TarGz => tarball::unpack(MultiGzDecoder::new(packed), &mut tree),
        Archive::TarXz => tarball::unpack(xz(packed), &mut tree),
        Archive::TarZst => tarball::unpack(zst(packed)?, &mut tree),
        Archive::Zip => zipped::unpack(packed, &mut tree),
        Archive::Gz => one(MultiGzDecoder::new(packed), name, &mut tree),
        Archive::Xz => one(xz(packed), name, &mut tree),
        Archive::Zst => one(zst(packed)?, name, &mut tree),
    }
}

fn one(mut content: impl Read, name: &str, tree: &mut Tree<'_>) -> Result<(), Failure> {
    tree.file(OsStr::new(name), 0o644, &mut content).map(drop)
}

fn xz<R: Read>(packed: R) -> XzReader<R> {
    XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB)
}

fn zst(packed: BufReader<File>) -> Result<impl Read, Failure> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(Failure::local("cannot start zstd"))?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Failure::local("cannot limit zstd"))?;
    Ok(decoder)
}

#[cfg(test)]
mod tests;
