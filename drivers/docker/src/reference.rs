//! The name of an image, taken apart.

use std::fmt;

/// What a name without a registry means.
const DEFAULT_REGISTRY: &str = "docker.io";

/// The name of an image: `[registry/]repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// With the registry, where one is named.
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl Reference {
    /// Takes `image` apart; `https://` before it is left away.
    pub(crate) fn parse(image: &str) -> Self {
        let image = image.strip_prefix("https://").unwrap_or(image);
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (image, None),
        };
        // A colon before a slash belongs to the registry's port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (rest, None),
        };
        Self { repository: repository.to_owned(), tag: tag.filter(|tag| !tag.is_empty()), digest }
    }

    /// The registry that it comes from, as `docker login` names it.
    pub(crate) fn registry(&self) -> &str {
        match self.repository.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => DEFAULT_REGISTRY,
        }
    }

    /// Whether the name may mean another image tomorrow.
    pub(crate) fn is_moving(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref().is_none_or(|tag| tag == "latest")
    }

    /// What the engine wants to be asked for beside the repository.
    pub(crate) fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

/// The whole name, with `latest` where nothing else is said.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.digest.is_some() { '@' } else { ':' };
        write!(f, "{}{mark}{}", self.repository, self.version())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (image, whole, registry, moving) in [
            ("redis", "redis:latest", "docker.io", true),
            ("redis:", "redis:latest", "docker.io", true),
            ("redis:7", "redis:7", "docker.io", false),
            ("team/redis:latest", "team/redis:latest", "docker.io", true),
            ("https://quay.io/team/redis:7", "quay.io/team/redis:7", "quay.io", false),
            ("127.0.0.1:5000/p/redis", "127.0.0.1:5000/p/redis:latest", "127.0.0.1:5000", true),
            ("localhost/redis:1", "localhost/redis:1", "localhost", false),
            ("redis@sha256:ab", "redis@sha256:ab", "docker.io", false),
            ("r.io/redis:7@sha256:ab", "r.io/redis@sha256:ab", "r.io", false),
        ] {
            let reference = Reference::parse(image);
            assert_eq!(reference.to_string(), whole, "{image}");
            assert_eq!((reference.registry(), reference.is_moving()), (registry, moving), "{image}");
        }
    }
}
