//! From a text to a scheme and an address: forced getters and the shorthands of well-known hosts.

use super::s3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Git,
    S3,
    File,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Detected {
    pub(super) scheme: Scheme,
    /// With a scheme of its own.
    pub(super) url: String,
    /// What a shorthand says beyond the repository.
    pub(super) subdirectory: Option<String>,
}

/// Where the code of a project is kept, by `host/owner/project`.
const FORGES: [&str; 3] = ["github.com", "gitlab.com", "bitbucket.org"];

/// Reads an address without subdirectory; the error is a part of a sentence.
pub(super) fn detect(address: &str) -> Result<Detected, String> {
    let (forced, rest) = match address.split_once("::") {
        Some((getter, rest)) if !getter.is_empty() && getter.chars().all(|c| c.is_ascii_alphanumeric()) => {
            (Some(getter), rest)
        }
        _ => (None, address),
    };
    let found = |scheme, url: String| Ok(Detected { scheme, url, subdirectory: None });
    match forced {
        Some("git") => return git(rest),
        Some("s3") if rest.contains("://") => return found(Scheme::S3, rest.to_owned()),
        Some("s3") => return found(Scheme::S3, format!("https://{rest}")),
        Some("http") | Some("https") => return found(Scheme::Http, rest.to_owned()),
        Some("file") => return found(Scheme::File, file(rest)?),
        Some(other) => return Err(unknown(other)),
        None => {}
    }
    match rest.split_once("://").map(|(scheme, _)| scheme) {
        Some("http" | "https") => found(Scheme::Http, rest.to_owned()),
        Some("git" | "ssh") => git(rest),
        Some("s3") => found(Scheme::S3, rest.to_owned()),
        Some("file") => found(Scheme::File, rest.to_owned()),
        Some(other) => Err(unknown(other)),
        None => shorthand(rest),
    }
}

fn unknown(scheme: &str) -> String {
    let why = match scheme {
        "hg" => "Mercurial repositories are not supported",
        "gcs" | "gs" => "Google Cloud Storage is not supported (its public objects can be fetched over https)",
        _ => return format!("{scheme:?} is not a kind of source: there are http, https, git and s3"),
    };
    format!("{why}: there are http, https, git and s3")
}

fn git(rest: &str) -> Result<Detected, String> {
    if rest.contains("://") {
        return Ok(Detected { scheme: Scheme::Git, url: rest.to_owned(), subdirectory: None });
    }
    match forge(rest).or_else(|| scp_like(rest)) {
        Some(found) => Ok(found),
        None if rest.starts_with('/') => Ok(Detected { scheme: Scheme::Git, url: file(rest)?, subdirectory: None }),
        None => Ok(Detected { scheme: Scheme::Git, url: format!("https://{rest}"), subdirectory: None }),
    }
}

fn shorthand(text: &str) -> Result<Detected, String> {
    if let Some(found) = forge(text).or_else(|| scp_like(text)) {
        return Ok(found);
    }
    let host = text.split(['/', '?']).next().unwrap_or_default();
    if s3::is_amazon(host) {
        return Ok(Detected { scheme: Scheme::S3, url: format!("https://{text}"), subdirectory: None });
    }
    if host.ends_with("googleapis.com") {
        return Err(unknown("gcs"));
    }
    if text.starts_with('/') {
        return Ok(Detected { scheme: Scheme::File, url: file(text)?, subdirectory: None });
    }
    Err("it has no scheme that is known: write https://…, git::…, s3::…, github.com/… or the like".into())
}

/// `github.com/owner/project[/sub]`.
fn forge(text: &str) -> Option<Detected> {
    let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let mut parts = path.split('/');
    let host = parts.next().filter(|host| FORGES.contains(host))?;
    let (owner, project) =
        (parts.next().filter(|part| !part.is_empty())?, parts.next().filter(|part| !part.is_empty())?);
    let project = project.strip_suffix(".git").unwrap_or(project);
    let rest: Vec<&str> = parts.collect();
    Some(Detected {
        scheme: Scheme::Git,
        url: format!("https://{host}/{owner}/{project}.git{query}"),
        subdirectory: (!rest.is_empty()).then(|| rest.join("/")),
    })
}

/// `git@host:path`.
fn scp_like(text: &str) -> Option<Detected> {
    let (user, rest) = text.split_once('@')?;
    let (host, path) = rest.split_once(':')?;
    let plain = |part: &str| !part.is_empty() && !part.contains(['/', '?', ':', '@']);
    (plain(user) && plain(host) && !path.is_empty()).then(|| Detected {
        scheme: Scheme::Git,
        url: format!("ssh://{user}@{host}/{}", path.trim_start_matches('/')),
        subdirectory: None,
    })
}

fn file(text: &str) -> Result<String, String> {
    match text {
        text if text.starts_with("file://") => Ok(text.to_owned()),
        text if text.starts_with('/') => Ok(format!("file://{text}")),
        _ => Err("the path of a file must be absolute".into()),
    }
}
