//! Files and paths; what touches a disk asks the scope whether and from where it may.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use super::{Call, CallFault, Function, Outcome, function};
use crate::scope::FileAccess;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("abspath", 1, 1, abspath),
    function("basename", 1, 1, basename),
    function("dirname", 1, 1, dirname),
    function("file", 1, 1, file),
    function("filebase64", 1, 1, filebase64),
    function("fileexists", 1, 1, fileexists),
    function("fileset", 2, 2, fileset),
    function("pathexpand", 1, 1, pathexpand),
];

/// A file that is read may be this large.
const MAX_FILE: u64 = 16 << 20;

/// `fileset` looks at this many entries.
const MAX_ENTRIES: usize = 20_000;

/// `fileset` goes down this many directories.
const MAX_LEVELS: usize = 32;

fn base(call: &Call<'_>) -> Result<PathBuf, CallFault> {
    match call.scope().files() {
        FileAccess::Base(directory) => Ok(directory.clone()),
        FileAccess::Disabled => Err("filesystem function disabled: this document may not read files here".into()),
    }
}

fn path(call: &mut Call<'_>, index: usize) -> Result<PathBuf, CallFault> {
    let base = base(call)?;
    let text = call.string(index)?;
    Ok(base.join(expand_home(&text)))
}

fn expand_home(text: &str) -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    match text.strip_prefix('~') {
        Some("") => home(),
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => home().join(rest),
            None => PathBuf::from(text),
        },
        None => PathBuf::from(text),
    }
}

fn read(call: &mut Call<'_>) -> Result<Vec<u8>, CallFault> {
    let path = path(call, 0)?;
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let facts = fs::metadata(&path).map_err(failed)?;
    if !facts.is_file() {
        return Err(call.fault(0, format!("{} is not a regular file", path.display())));
    }
    if facts.len() > MAX_FILE {
        return Err(call.fault(0, format!("{} is larger than {} MiB", path.display(), MAX_FILE >> 20)));
    }
    call.charge(usize::try_from(facts.len()).unwrap_or(usize::MAX))?;
    fs::read(&path).map_err(|error| failed(error).into())
}

fn file(call: &mut Call<'_>) -> Outcome {
    let text = String::from_utf8(read(call)?);
    text.map(Value::String).map_err(|_| call.fault(0, "the file is not UTF-8 text; `filebase64` reads any file"))
}

fn filebase64(call: &mut Call<'_>) -> Outcome {
    Ok(STANDARD.encode(read(call)?).into())
}

fn fileexists(call: &mut Call<'_>) -> Outcome {
    Ok(Value::Bool(path(call, 0)?.is_file()))
}

fn abspath(call: &mut Call<'_>) -> Outcome {
    let path = path(call, 0)?;
    let absolute = std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(clean(&absolute.to_string_lossy()).into())
}

fn pathexpand(call: &mut Call<'_>) -> Outcome {
    base(call)?;
    Ok(expand_home(&call.string(0)?).to_string_lossy().into_owned().into())
}

fn basename(call: &mut Call<'_>) -> Outcome {
    let text = call.string(0)?;
    let trimmed = text.trim_end_matches('/');
    Ok(match (text.is_empty(), trimmed.rsplit('/').next()) {
        (true, _) => ".".into(),
        (false, Some("") | None) => "/".into(),
        (false, Some(name)) => name.into(),
    })
}

fn dirname(call: &mut Call<'_>) -> Outcome {
    let text = call.string(0)?;
    Ok(match text.rfind('/') {
        Some(at) => clean(&text[..=at]).into(),
        None => ".".into(),
    })
}

/// A path without `.`, inner `..` and doubled slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            ("..", None) if path.starts_with('/') => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (path.starts_with('/'), joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Regular files below a directory whose path from there matches a pattern; links to directories are not followed.
fn fileset(call: &mut Call<'_>) -> Outcome {
    let directory = path(call, 0)?;
    let pattern = call.string(1)?;
    let regex = glob(&pattern).ok_or_else(|| call.fault(1, format!("`{pattern}` is not a valid pattern")))?;
    let mut found = Vec::new();
    let mut seen = 0;
    let mut open = vec![(directory.clone(), 0)];
    while let Some((current, level)) = open.pop() {
        let failed = |error: std::io::Error| format!("cannot list {}: {error}", current.display());
        for entry in fs::read_dir(&current).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(format!("{} holds more than {MAX_ENTRIES} entries", directory.display()).into());
            }
            let kind = entry.file_type().map_err(failed)?;
            let path = entry.path();
            if kind.is_dir() && level < MAX_LEVELS {
                open.push((path, level + 1));
            } else if let Some(name) = relative(&directory, &path)
                && path.is_file()
                && regex.is_match(&name)
            {
                found.push(Value::String(name));
            }
        }
    }
    Ok(Value::set(found))
}

fn relative(directory: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(directory).ok()?.to_str().map(str::to_owned)
}

/// A glob as regular expression: `*` and `?` stay within one name, `**` crosses directories, `{a,b}` chooses.
fn glob(pattern: &str) -> Option<Regex> {
    let mut regex = String::from("^");
    let mut rest = pattern;
    let mut choices = 0;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**/") {
            regex.push_str("(?:.*/)?");
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("**") {
            regex.push_str(".*");
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '{' => {
                choices += 1;
                regex.push_str("(?:");
            }
            '}' if choices > 0 => {
                choices -= 1;
                regex.push(')');
            }
            ',' if choices > 0 => regex.push('|'),
            '[' => {
                let end = rest.find(']')?;
                let (negated, class) = match rest[..end].strip_prefix(['!', '^']) {
                    Some(class) => ("^", class),
                    None => ("", &rest[..end]),
                };
                regex.push_str(&format!("[{negated}{}]", class.replace('\\', "\\\\").replace('[', "\\[")));
                rest = &rest[end + 1..];
            }
            other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    Regex::new(&regex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_shells_do() {
        let matches = |pattern: &str, name: &str| glob(pattern).is_some_and(|regex| regex.is_match(name));
        assert!(matches("*.hcl", "a.hcl") && !matches("*.hcl", "b/a.hcl"));
        assert!(matches("**/*.{hcl,json}", "b/c/a.json") && matches("**/*.hcl", "a.hcl"));
        assert!(matches("[!a]?.t", "bx.t") && !matches("[!a]?.t", "ax.t"));
        assert!(glob("[a").is_none());
    }

    #[test]
    fn paths_are_cleaned_without_a_disk() {
        for (path, expected) in [("/a/./b/../c//d", "/a/c/d"), ("a/..", "."), ("../x", "../x"), ("/..", "/")] {
            assert_eq!(clean(path), expected);
        }
    }
}
