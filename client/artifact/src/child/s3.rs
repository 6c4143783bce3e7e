//! From buckets of S3 and of what speaks like it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ClientOptions, GetOptions, ObjectStore, RetryConfig};

use super::work::{DOWNLOAD, Got};
use crate::dir::Dir;
use crate::order::{Failure, FailureKind, OUT, Order, chain};
use crate::request::Mode;
use crate::source::S3;
use crate::unpack::{Budget, Tree};

const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// The object of that key, or else all those below it.
pub(super) async fn fetch(order: &Order, s3: &S3) -> Result<Got, Failure> {
    let store = store(order, s3)?;
    let key = Key::parse(&s3.key)
        .map_err(|error| Failure::new(FailureKind::Malformed, format!("its key cannot be used: {error}")))?;
    let bucket = Bucket { order, store: &store, key: &key };
    let may_be_object = !s3.key.is_empty() && (order.mode != Mode::Dir || order.source.archive.is_some());
    let may_be_directory = order.mode != Mode::File && order.source.archive.is_none() && s3.version.is_none();
    if may_be_object {
        let options = GetOptions { version: s3.version.clone(), ..GetOptions::default() };
        if bucket.download(&key, options, &mut Left::new(order)).await? {
            return Ok(Got::File);
        }
    }
    if may_be_directory && bucket.directory().await? {
        return Ok(Got::Tree);
    }
    Err(Failure::fetch(format!("the bucket {:?} has nothing of the name {:?}", s3.bucket, s3.key)))
}

struct Bucket<'a> {
    order: &'a Order,
    store: &'a AmazonS3,
    key: &'a Key,
}

impl Bucket<'_> {
    /// Downloads an object to [`DOWNLOAD`]; says whether there is one.
    async fn download(&self, key: &Key, options: GetOptions, left: &mut Left) -> Result<bool, Failure> {
        let answer = match self.store.get_opts(key, options).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(self.failure(&error)),
        };
        let mut file = File::create(DOWNLOAD).map_err(Failure::local("cannot make a file"))?;
        let mut parts = answer.into_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| self.failure(&error))?;
            left.take(part.len() as u64)?;
            file.write_all(&part).map_err(Failure::local("cannot write what was fetched"))?;
        }
        Ok(true)
    }

    /// Downloads all objects below the key into [`OUT`]; says whether there are any.
    async fn directory(&self) -> Result<bool, Failure> {
        let out = Dir::open(Path::new(OUT)).map_err(Failure::local("cannot open its directory"))?;
        let mut tree = Tree::new(&out, Budget::new(&self.order.limits));
        let mut left = Left::new(self.order);
        let mut found = false;
        let mut listing = self.store.list(Some(self.key));
        while let Some(entry) = listing.next().await {
            let key = entry.map_err(|error| self.failure(&error))?.location;
            let Some(parts) = key.prefix_match(self.key) else { continue };
            let name = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            // By way of a file, so that no object has to fit into memory. Objects may go while they are listed.
            if name.is_empty() || !self.download(&key, GetOptions::default(), &mut left).await? {
                continue;
            }
            found = true;
            let mut content = File::open(DOWNLOAD).map_err(Failure::local("cannot read what was fetched"))?;
            drop(tree.file(OsStr::new(&name), 0o644, &mut content)?);
        }
        Ok(found)
    }

    fn failure(&self, error: &object_store::Error) -> Failure {
        use object_store::Error;
        let said = chain(error);
        let kind = match error {
            Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                FailureKind::Fetch
            }
            _ if REFUSALS.iter().any(|text| said.contains(text)) => FailureKind::Fetch,
            _ => FailureKind::Transient,
        };
        let said = answered(&said).unwrap_or_else(|| said.chars().filter(|c| !c.is_control()).take(500).collect());
        let hint = match (kind, anonymous(self.order)) {
            (FailureKind::Fetch, true) => {
                "; no credentials were given: set the options aws_access_key_id and aws_access_key_secret"
            }
            _ => "",
        };
        Failure::new(kind, format!("{said}{hint}"))
    }
}

/// What an error says of an answer that will be the same next time.
const REFUSALS: [&str; 4] = ["status code: 400", "status code: 401", "status code: 403", "status code: 404"];

/// What the service itself says in the XML that an error quotes.
fn answered(text: &str) -> Option<String> {
    let part = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(inner, _)| inner)
    };
    let (code, message) = (part("Code")?, part("Message")?);
    Some(format!("the service answered {code}: {message}").chars().filter(|c| !c.is_control()).take(500).collect())
}

/// How many bytes may still be downloaded.
struct Left {
    bytes: Option<u64>,
    limit: u64,
}

impl Left {
    fn new(order: &Order) -> Self {
        let limit = order.limits.download_bytes;
        Self { bytes: (limit > 0).then_some(limit), limit }
    }

    fn take(&mut self, count: u64) -> Result<(), Failure> {
        let Some(bytes) = &mut self.bytes else { return Ok(()) };
        *bytes = bytes.checked_sub(count).ok_or_else(|| {
            Failure::new(FailureKind::TooLarge, format!("it has more than {} bytes (http_max_size)", self.limit))
        })?;
        Ok(())
    }
}

fn store(order: &Order, s3: &S3) -> Result<AmazonS3, Failure> {
    let client = ClientOptions::new()
        .with_allow_http(true)
        .with_allow_invalid_certificates(order.insecure)
        .with_connect_timeout(CONNECT_WITHIN)
        .with_timeout(order.limits.s3_timeout);
    // Attempts are counted one level up.
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_client_options(client)
        .with_retry(retry);
    builder = match &s3.endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false),
        // A certificate of Amazon's covers one level of names.
        None => builder.with_virtual_hosted_style_request(!s3.bucket.contains('.')),
    };
    if let Some(credentials) = &s3.credentials {
        builder = builder.with_access_key_id(&credentials.id).with_secret_access_key(&credentials.secret);
        if let Some(token) = &credentials.token {
            builder = builder.with_token(token);
        }
    }
    builder = builder.with_skip_signature(anonymous(order));
    builder.build().map_err(|error| Failure::new(FailureKind::Malformed, chain(&error)))
}

/// Whether neither the source nor the environment that the agent passed on has credentials.
fn anonymous(order: &Order) -> bool {
    const SOURCES: [&str; 4] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let given = match &order.source.place {
        crate::source::Place::S3(s3) => s3.credentials.is_some(),
        _other => false,
    };
    !given && SOURCES.iter().all(|name| std::env::var_os(name).is_none())
}
