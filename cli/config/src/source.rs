//! Where settings come from: files, directories, flags.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::file::{self, Verdict, verdict};
use crate::keys;
use crate::merged::{Merged, Setting};
use crate::value::Value;

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Whether the defaults are those of a development agent.
    pub dev: bool,
    /// Files, and directories whose `.hcl` and `.json` files are read in lexical order.
    pub files: Vec<PathBuf>,
    /// What stood on the command line.
    pub flags: Vec<Flag>,
}

/// A flag that sets a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As the user writes it: `-bind`.
    pub name: &'static str,
    /// The key: `bind_addr`.
    pub key: &'static str,
    /// The text; one element for a list, `key=value` for a map.
    pub value: String,
}

/// Reads all sources in order; returns the files that were read.
pub(crate) fn read(sources: &Sources, merged: &mut Merged) -> Vec<PathBuf> {
    let mut read = Vec::new();
    for path in &sources.files {
        match files_of(path) {
            Ok(files) => {
                for file in files {
                    match fs::read(&file) {
                        Ok(bytes) => {
                            file::read(&file, &bytes, merged);
                            read.push(file);
                        }
                        Err(error) => merged.problems.push(format!("cannot read {}: {error}", file.display())),
                    }
                }
            }
            Err(error) => merged.problems.push(format!("cannot read {}: {error}", path.display())),
        }
    }
    for flag in &sources.flags {
        apply(flag, merged);
    }
    read
}

fn apply(flag: &Flag, merged: &mut Merged) {
    let Flag { name, key, value } = flag;
    let known = keys::find(key).expect("every flag names a key of the table");
    let value = match Value::parse(value, known.kind) {
        Ok(value) => value,
        Err(message) => return merged.problems.push(format!("{name} {message}")),
    };
    match verdict(known.fate, name, &value) {
        Verdict::Take => merged.set(key, None, Setting { value, origin: (*name).to_owned() }),
        Verdict::Drop => {}
        Verdict::Warn(message) => merged.warnings.push(message),
        Verdict::Refuse(message) => merged.problems.push(message),
    }
}

/// A file itself, or the configuration files of a directory in lexical order.
fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let known = file.extension().is_some_and(|extension| extension == "hcl" || extension == "json");
        if known && !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
