//! Addresses of objects in buckets.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::options::Options;

/// An object, or all those under a prefix, of a bucket.
#[derive(Serialize, Deserialize)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    /// Without a slash at either end.
    pub(crate) key: String,
    pub(crate) region: String,
    /// Where the service is, when it is not Amazon's.
    pub(crate) endpoint: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) credentials: Option<Credentials>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

const DEFAULT_REGION: &str = "us-east-1";

/// Whether a host belongs to Amazon's service.
pub(super) fn is_amazon(host: &str) -> bool {
    amazon(host).is_some()
}

/// The bucket, if the host names one, and the region of a host of Amazon's.
fn amazon(host: &str) -> Option<(Option<&str>, Option<&str>)> {
    let front = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let service = |text: &str| text == "s3" || text.starts_with("s3-") || text.starts_with("s3.");
    let (bucket, rest) = if service(front) {
        (None, front)
    } else {
        let at = front.match_indices('.').map(|(at, _)| at).find(|at| service(&front[at + 1..]))?;
        (Some(&front[..at]), &front[at + 1..])
    };
    let region = rest.get(3..).map(|region| region.strip_prefix("dualstack.").unwrap_or(region));
    Some((bucket, region))
}

impl S3 {
    /// Reads an address and its options; the error is a part of a sentence.
    pub(super) fn read(url: &Url, options: &mut Options) -> Result<Self, String> {
        let host = url.host_str().unwrap_or_default();
        let path = percent_decode_str(url.path()).decode_utf8().map_err(|_| "its key is not UTF-8")?;
        let path = path.trim_matches('/');
        let (bucket, key, region, endpoint) = if url.scheme() == "s3" {
            (host, path, None, None)
        } else {
            match amazon(host) {
                Some((Some(bucket), region)) => (bucket, path, region, None),
                Some((None, region)) => {
                    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                    (bucket, key, region, None)
                }
                None => {
                    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                    (bucket, key, None, Some(format!("{}://{host}{port}", url.scheme())))
                }
            }
        };
        if !matches!(url.scheme(), "s3" | "http" | "https") || bucket.is_empty() {
            return Err("it names no bucket: write s3::https://s3.amazonaws.com/<bucket>/<key>".into());
        }
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("its key must not contain . or .. as a part".into());
        }
        let mut option = |name: &str| options.take_one(name).filter(|value| !value.is_empty());
        let (id, secret) = (option("aws_access_key_id"), option("aws_access_key_secret"));
        let token = option("aws_access_token");
        let credentials = match (id, secret) {
            (Some(id), Some(secret)) => Some(Credentials { id, secret, token }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err("aws_access_key_id and aws_access_key_secret go together".into());
            }
        };
        if option("aws_profile").is_some() {
            return Err(
                "the option aws_profile is not supported: give aws_access_key_id and aws_access_key_secret".into()
            );
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            region: option("region").or_else(|| region.map(str::to_owned)).unwrap_or_else(|| DEFAULT_REGION.into()),
            endpoint,
            version: option("version"),
            credentials,
        })
    }
}
