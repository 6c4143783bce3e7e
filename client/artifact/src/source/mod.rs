//! The dialect in which sources are written, read once at the edge.
//!
//! Nothing is looked up here: what a text means follows from the text alone.

mod checksum;
mod detect;
mod options;
mod s3;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::{Deserialize, Serialize};

pub(crate) use checksum::{Checksum, Digest, from_listing};
use detect::Scheme;
use options::Options;
pub(crate) use s3::S3;

use crate::netrc::Login;
use crate::request::{Mode, Request};
use crate::unpack::Archive;

const LONGEST: usize = 64 * 1024;

/// What is fetched, and what is done with it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) place: Place,
    /// The part of an archive, repository or directory that is wanted; clean and relative.
    pub(crate) subdirectory: Option<String>,
    /// How the one fetched file is unpacked.
    pub(crate) archive: Option<Archive>,
    pub(crate) checksum: Option<Checksum>,
    /// The name of the one fetched file.
    pub(crate) filename: String,
    /// What http(s) servers are shown; only the host that the source names ever sees it.
    pub(crate) login: Option<Login>,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Place {
    Http {
        url: String,
    },
    Git(Git),
    S3(S3),
    /// A file or directory of this machine.
    File {
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Git {
    /// Without user and password, unless it is for ssh.
    pub(crate) url: String,
    pub(crate) reference: Option<String>,
    pub(crate) depth: Option<u32>,
    /// A private key, as its file has it.
    pub(crate) sshkey: Option<String>,
}

impl Source {
    /// Reads the source of a request; the error is the reason, a part of a sentence.
    pub(crate) fn read(request: &Request, allow_file: bool) -> Result<Self, String> {
        let text = request.source.trim();
        if text.is_empty() || text.len() > LONGEST || text.contains(|c: char| c.is_control()) {
            return Err("it is empty, overlong or has control characters".into());
        }
        let (address, subdirectory) = split_subdirectory(text);
        let detected = detect::detect(&address)?;
        let subdirectory =
            [detected.subdirectory.as_deref(), subdirectory.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        let subdirectory = clean_subdirectory(&subdirectory.join("/"))?;
        let mut url = Url::parse(&detected.url).map_err(|error| format!("it is not an address ({error})"))?;
        let login = take_login(&mut url);
        let mut options = Options::take(&mut url, &request.options);

        let checksum = options.take_one("checksum").map(|text| Checksum::parse(&text)).transpose()?;
        let archive = options.take_one("archive");
        let filename = options.take_one("filename");
        let place = match detected.scheme {
            Scheme::Http => {
                options.put_back(&mut url);
                Place::Http { url: url.into() }
            }
            Scheme::Git => Place::Git(git(url, options, allow_file)?),
            Scheme::S3 => Place::S3(S3::read(&url, &mut options)?),
            Scheme::File if allow_file => {
                Place::File { path: url.to_file_path().map_err(|()| "it names no absolute path of this machine")? }
            }
            Scheme::File => return Err(NO_FILES.into()),
        };
        let last = last_segment(&place);
        let archive = match &place {
            Place::Git(_) => None,
            Place::Http { .. } | Place::S3(_) | Place::File { .. } => Archive::choose(archive.as_deref(), &last)?,
        };
        let filename = match filename {
            Some(name) if is_name(&name) => name,
            Some(name) => return Err(format!("the option filename = {name:?} is not the name of a file")),
            None if is_name(&last) => last,
            None => String::new(),
        };
        let source = Self { place, subdirectory, archive, checksum, filename, login };
        source.check(request)?;
        Ok(source)
    }

    /// Refuses what cannot go together.
    fn check(&self, request: &Request) -> Result<(), String> {
        if !request.headers.is_empty() && !self.speaks_http() {
            return Err("headers can be sent to http, https and git over these only".into());
        }
        match &self.place {
            Place::Git(_) => {
                if self.checksum.is_some() {
                    return Err("a repository has no checksum: name a commit in the option ref".into());
                }
                if request.mode == Mode::File && self.subdirectory.is_none() {
                    return Err("with mode \"file\" name the file of the repository after //".into());
                }
            }
            Place::Http { .. } if self.archive.is_none() => {
                if request.mode == Mode::Dir {
                    return Err("mode \"dir\" needs an archive, a repository or a bucket's directory".into());
                }
                if self.subdirectory.is_some() {
                    return Err("only an archive or a repository has a subdirectory (//)".into());
                }
                if self.filename.is_empty() && request.mode == Mode::Any {
                    return Err("it names no file: set the option filename, or mode = \"file\"".into());
                }
            }
            Place::Http { .. } | Place::S3(_) | Place::File { .. } => {}
        }
        if self.archive.is_some_and(|archive| !archive.is_tree()) && request.mode == Mode::Dir {
            return Err("mode \"dir\" needs an archive of several files; this is one compressed file".into());
        }
        Ok(())
    }

    fn speaks_http(&self) -> bool {
        match &self.place {
            Place::Http { .. } => true,
            Place::Git(git) => git.url.starts_with("http"),
            Place::S3(_) | Place::File { .. } => false,
        }
    }

    /// The host whose login may be in a netrc file.
    pub(crate) fn login_host(&self) -> Option<String> {
        let url = match &self.place {
            Place::Http { url } => url,
            Place::Git(git) if git.url.starts_with("http") => &git.url,
            Place::Git(_) | Place::S3(_) | Place::File { .. } => return None,
        };
        Url::parse(url).ok()?.host_str().map(str::to_owned)
    }
}

const NO_FILES: &str = "sources on the node's own disk are not allowed here: serve it over http, git or s3, \
                        or let this agent allow them";

/// The source without its query and without passwords, for people.
pub(crate) fn shown(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) if user != "git" => format!("{scheme}://{host}{path}"),
        _ => text,
    }
}

/// Takes `//sub` out of a source; the query stays with the address.
fn split_subdirectory(text: &str) -> (String, Option<String>) {
    let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let start = path.find("://").map_or(0, |at| at + 3);
    match path[start..].find("//") {
        None => (text.to_owned(), None),
        Some(at) => (format!("{}{query}", &path[..start + at]), Some(path[start + at + 2..].to_owned())),
    }
}

fn clean_subdirectory(text: &str) -> Result<Option<String>, String> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "its subdirectory is not UTF-8")?;
    let parts: Vec<&str> = decoded.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || decoded.contains('\0') {
        return Err(format!("its subdirectory {decoded:?} leads out of it"));
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// Takes user and password out of an http(s) address, so that they are in no message, argument or file of a repository.
fn take_login(url: &mut Url) -> Option<Login> {
    if !matches!(url.scheme(), "http" | "https") || (url.username().is_empty() && url.password().is_none()) {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = Login { user: decoded(url.username()), password: decoded(url.password().unwrap_or_default()) };
    // Only an address without a host refuses this.
    (url.set_username("").is_ok() && url.set_password(None).is_ok()).then_some(login)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text != "." && text != ".." && !text.contains(['/', '\0'])
}

/// What the last part of the path is called.
fn last_segment(place: &Place) -> String {
    let path = match place {
        Place::Http { url } => Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default(),
        Place::S3(s3) => return s3.key.rsplit('/').next().unwrap_or_default().to_owned(),
        Place::File { path } => return path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Place::Git(_) => return String::new(),
    };
    let last = path.rsplit('/').next().unwrap_or_default();
    percent_decode_str(last).decode_utf8_lossy().into_owned()
}

fn git(mut url: Url, mut options: Options, allow_file: bool) -> Result<Git, String> {
    let reference = options.take_one("ref").filter(|text| !text.is_empty());
    if reference.as_ref().is_some_and(|text| text.starts_with('-') || text.contains(char::is_whitespace)) {
        return Err("the option ref must be a branch, a tag or a commit".into());
    }
    let depth = match options.take_one("depth").as_deref() {
        None | Some("") | Some("0") => None,
        Some(text) => Some(text.parse().map_err(|_| format!("the option depth = {text:?} is not a number"))?),
    };
    let sshkey = options.take_one("sshkey").filter(|text| !text.is_empty()).map(|text| key(&text)).transpose()?;
    match url.scheme() {
        "https" | "http" | "ssh" | "git" => {}
        "file" if allow_file => {}
        "file" => return Err(NO_FILES.into()),
        other => return Err(format!("git is not fetched over {other}: use https, http or ssh")),
    }
    // An option of ssh in disguise.
    if [url.username(), url.host_str().unwrap_or_default(), url.path()].iter().any(|part| part.starts_with('-')) {
        return Err("its user, host and path must not begin with a dash".into());
    }
    options.put_back(&mut url);
    Ok(Git { url: url.into(), reference, depth, sshkey })
}

fn key(text: &str) -> Result<String, String> {
    // A plus in a query means a space.
    let decoded = BASE64_STANDARD.decode(text.trim().replace(' ', "+"));
    let key = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let mut key = key.ok_or("the option sshkey is not a private key in base64")?;
    if !key.ends_with('\n') {
        key.push('\n');
    }
    Ok(key)
}

/// The options of a request.
pub(crate) type OptionMap = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
