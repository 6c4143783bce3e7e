//! Compiling into the cache, in a process of its own: it may take long, and much memory, and neither is the agent's nor the task's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use wasmtime::{Engine, Precompiled};

use crate::cache::{self, Answer, Entry, Order};
use crate::codegen::Codegen;
use crate::plan::Kind;

/// The largest file that is looked at, in bytes.
const MAX_BYTES: u64 = 512 << 20;

/// Which engine this is, in hexadecimal digits, for the kind of code in `order`.
pub(super) fn identify(order: &str) -> Result<String, String> {
    let codegen: Codegen = serde_json::from_str(order).map_err(|error| error.to_string())?;
    let hash = codegen.engine_hash().map_err(|error| format!("the engine does not start: {error:#}"))?;
    Ok(format!("{hash:016x}"))
}

/// Compiles the standard input as `order` says, unless that is done already. What is wrong with the file is an answer, not an error.
pub(super) fn compile(order: &str) -> Result<String, String> {
    let order: Order = serde_json::from_str(order).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("reading failed: {error}"))?;
    let answer: Answer = if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        Err(format!("the module is larger than {} MiB", MAX_BYTES >> 20))
    } else {
        into_cache(&order, &bytes)?
    };
    serde_json::to_string(&answer).map_err(|error| error.to_string())
}

fn into_cache(order: &Order, bytes: &[u8]) -> Result<Answer, String> {
    let dir = &order.cache;
    let at = |doing: &str| {
        let doing = doing.to_owned();
        move |error: io::Error| format!("{doing} {} failed: {error}", dir.display())
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).map_err(at("making"))?;
    let hash = order.codegen.engine_hash().map_err(|error| format!("the engine does not start: {error:#}"))?;
    let content = cache::hash_of(&mut &bytes[..]).map_err(at("hashing for"))?;
    let key = cache::key_of(hash, &content);
    let lock_file = cache::lock_file(dir, &key);
    let _lock = lock(&lock_file).map_err(at("locking in"))?;
    if cache::exists(dir, &key) {
        return Ok(Ok(key));
    }
    let (kind, code) = match translate(order, bytes) {
        Ok(made) => made,
        Err(problem) => return Ok(Err(problem)),
    };
    let entry = Entry {
        kind,
        bytes: u64::try_from(code.len()).map_err(|error| error.to_string())?,
        sha256: cache::hash_of(&mut &code[..]).map_err(at("hashing for"))?,
    };
    let entry = serde_json::to_vec(&entry).map_err(|error| error.to_string())?;
    // The entry last: where it is, the other is whole.
    put(&cache::artifact_file(dir, &key), &code).map_err(at("writing to"))?;
    put(&cache::entry_file(dir, &key), &entry).map_err(at("writing to"))?;
    Ok(Ok(key))
}

/// Holds a lock file until it is dropped, and removes it then.
struct Lock<'a> {
    path: &'a Path,
    _file: File,
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _absent = std::fs::remove_file(self.path);
    }
}

fn lock(path: &Path) -> io::Result<Lock<'_>> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        // Whoever held it before has removed it: a later one may hold another file of that name.
        let ours = file.metadata()?.ino();
        if std::fs::metadata(path).is_ok_and(|facts| facts.ino() == ours) {
            return Ok(Lock { path, _file: file });
        }
    }
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&unfinished, path)
}

/// Machine code for `bytes`, or what is wrong with them.
fn translate(order: &Order, bytes: &[u8]) -> Result<(Kind, Vec<u8>), String> {
    if let Some(precompiled) = Engine::detect_precompiled(bytes) {
        if !order.allow_precompiled {
            return Err("the module is machine code, which this node does not take: give it the .wasm, or set allow_precompiled \
                        in the plugin's config"
                .to_owned());
        }
        let kind = match precompiled {
            Precompiled::Module => Kind::Module,
            Precompiled::Component => Kind::Component,
        };
        return Ok((kind, bytes.to_owned()));
    }
    let engine =
        Engine::new(&order.codegen.config()).map_err(|error| format!("the engine does not start: {error:#}"))?;
    let kind = kind_of(bytes)?;
    let made = match kind {
        Kind::Module => engine.precompile_module(bytes),
        Kind::Component => engine.precompile_component(bytes),
    };
    made.map(|code| (kind, code)).map_err(|error| format!("the module is not valid WebAssembly: {error:#}"))
}

/// What `bytes` claim to be.
fn kind_of(bytes: &[u8]) -> Result<Kind, String> {
    if bytes.starts_with(b"\0asm") {
        // Behind the magic number modules have version 1 in layer 0, components are in layer 1.
        return Ok(if bytes.get(6) == Some(&1) { Kind::Component } else { Kind::Module });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| "the module is neither WebAssembly nor its text form".to_owned())?;
    match first_word(text) {
        Some("component") => Ok(Kind::Component),
        Some("module") => Ok(Kind::Module),
        Some(_) | None => {
            Err("the module is neither WebAssembly nor its text form, which begins with (module or (component"
                .to_owned())
        }
    }
}

/// The word behind the first bracket of a text, comments apart.
fn first_word(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        if let Some(comment) = text.strip_prefix(";;") {
            text = comment.split_once('\n')?.1;
        } else if let Some(comment) = text.strip_prefix("(;") {
            text = comment.split_once(";)")?.1;
        } else {
            let rest = text.strip_prefix('(')?.trim_start();
            return rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(dir: &Path) -> Order {
        Order { cache: dir.to_owned(), codegen: Codegen { epochs: false, fuel: false }, allow_precompiled: false }
    }

    #[test]
    fn what_it_is_is_told_from_its_beginning() {
        assert_eq!(kind_of(b"\0asm\x01\0\0\0"), Ok(Kind::Module));
        assert_eq!(kind_of(b"\0asm\x0d\0\x01\0"), Ok(Kind::Component));
        assert_eq!(kind_of(b" ;; a\n(; (component) ;)( module)"), Ok(Kind::Module));
        assert_eq!(kind_of(b"(component $x)"), Ok(Kind::Component));
        for nothing in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\xff", b"(func)", b";; module"] {
            assert!(kind_of(nothing).unwrap_err().contains("neither WebAssembly"), "{nothing:?}");
        }
    }

    #[test]
    fn a_file_is_compiled_once_and_what_is_wrong_with_it_is_an_answer() {
        let root = tempfile::tempdir().unwrap();
        let order = order(root.path());
        let key = into_cache(&order, b"(module)").unwrap().unwrap();
        let file = cache::artifact_file(root.path(), &key);
        let made = std::fs::metadata(&file).unwrap().ino();
        assert_eq!(into_cache(&order, b"(module)").unwrap().unwrap(), key);
        assert_eq!(std::fs::metadata(&file).unwrap().ino(), made);
        let code = std::fs::read(&file).unwrap();
        let refused = into_cache(&order, &code).unwrap().unwrap_err();
        assert!(refused.contains("allow_precompiled"), "{refused}");
        let taken = into_cache(&Order { allow_precompiled: true, ..order }, &code).unwrap().unwrap();
        assert_eq!(std::fs::read(cache::artifact_file(root.path(), &taken)).unwrap(), code);
        let broken = into_cache(&self::order(root.path()), b"(module (func unknown))").unwrap().unwrap_err();
        assert!(broken.contains("not valid WebAssembly"), "{broken}");
        let files = std::fs::read_dir(root.path()).unwrap().count();
        assert_eq!(files, 4, "neither locks nor unfinished files are left");
    }
}
