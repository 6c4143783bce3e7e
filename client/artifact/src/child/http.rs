//! Over http and https.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy, Response, StatusCode, Url};

use super::work::DOWNLOAD;
use crate::order::{Failure, FailureKind, Order, chain};
use crate::source::Place;

const CONNECT_WITHIN: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: usize = 10;
const LONGEST_TEXT: u64 = 1024 * 1024;

/// Downloads to [`DOWNLOAD`].
pub(super) async fn download(order: &Order, url: &str) -> Result<(), Failure> {
    let answer = get(order, url).await?;
    let mut file = File::create(DOWNLOAD).map_err(Failure::local("cannot make a file"))?;
    let mut write = |part: &[u8]| file.write_all(part).map_err(Failure::local("cannot write what was fetched"));
    read(answer, order, order.limits.download_bytes, &mut write).await
}

/// A short text.
pub(super) async fn text(order: &Order, url: &str) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut keep = |part: &[u8]| {
        text.extend_from_slice(part);
        Ok(())
    };
    read(get(order, url).await?, order, LONGEST_TEXT, &mut keep).await?;
    String::from_utf8(text).map_err(|_| Failure::content("it is not a text"))
}

async fn read(
    mut answer: Response,
    order: &Order,
    limit: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let too_large = || Failure::new(FailureKind::TooLarge, format!("it has more than {limit} bytes (http_max_size)"));
    if limit > 0 && answer.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut received: u64 = 0;
    while let Some(part) = answer.chunk().await.map_err(|error| failure(error, order))? {
        received = received.saturating_add(part.len() as u64);
        if limit > 0 && received > limit {
            return Err(too_large());
        }
        take(&part)?;
    }
    Ok(())
}

/// The answer, once it is one of success; follows redirects.
async fn get(order: &Order, url: &str) -> Result<Response, Failure> {
    let malformed = |reason: String| Failure::new(FailureKind::Malformed, reason);
    let client = client(order)?;
    let headers = headers(order)?;
    let source = match &order.source.place {
        Place::Http { url } => Url::parse(url).ok(),
        Place::Git(_) | Place::S3(_) | Place::File { .. } => None,
    };
    let mut url = Url::parse(url).map_err(|error| malformed(format!("it is not an address ({error})")))?;
    for _ in 0..MOST_REDIRECTS {
        let mut request = client.get(url.clone());
        if source.as_ref().is_some_and(|source| may_see_secrets(source, &url)) {
            request = request.headers(headers.clone());
            if let Some(login) = order.source.login.as_ref().filter(|_| !headers.contains_key(AUTHORIZATION)) {
                request = request.basic_auth(&login.user, Some(&login.password));
            }
        } else if let Some(accept) = headers.get(ACCEPT) {
            request = request.header(ACCEPT, accept);
        }
        let answer = request.send().await.map_err(|error| failure(error, order))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let next = location.filter(|_| status.is_redirection()).and_then(|location| url.join(location).ok());
        url = next.ok_or_else(|| refused(status))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::fetch(format!("it redirects to {:?}, which is not followed", url.scheme())));
        }
    }
    Err(Failure::fetch(format!("it redirects more than {MOST_REDIRECTS} times")))
}

fn refused(status: StatusCode) -> Failure {
    let again = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
    let kind = if again { FailureKind::Transient } else { FailureKind::Fetch };
    Failure::new(kind, format!("the server answered {status}"))
}

/// Headers and logins are for the host that the source names, not for whom it redirects to.
fn may_see_secrets(source: &Url, url: &Url) -> bool {
    let upgraded =
        source.scheme() == "http" && url.scheme() == "https" && source.port().is_none() && url.port().is_none();
    source.host_str() == url.host_str()
        && (upgraded
            || (source.scheme() == url.scheme() && source.port_or_known_default() == url.port_or_known_default()))
}

fn client(order: &Order) -> Result<Client, Failure> {
    let mut builder = Client::builder()
        .user_agent(concat!("orch/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .timeout(order.limits.http_timeout)
        .no_proxy()
        .tls_danger_accept_invalid_certs(order.insecure);
    for proxy in proxies().map_err(|error| Failure::new(FailureKind::Local, chain(&error.without_url())))? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| Failure::new(FailureKind::Local, chain(&error)))
}

/// What the agent passed on of its environment says of proxies.
fn proxies() -> reqwest::Result<Vec<Proxy>> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).or_else(|| std::env::var_os(name.to_ascii_uppercase()));
        value.and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
    };
    let except = variable("no_proxy").and_then(|hosts| NoProxy::from_string(&hosts));
    let mut proxies = Vec::new();
    if let Some(url) = variable("http_proxy") {
        proxies.push(Proxy::http(url)?.no_proxy(except.clone()));
    }
    if let Some(url) = variable("https_proxy") {
        proxies.push(Proxy::https(url)?.no_proxy(except.clone()));
    }
    if let Some(url) = variable("all_proxy") {
        proxies.push(Proxy::all(url)?.no_proxy(except));
    }
    Ok(proxies)
}

fn headers(order: &Order) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &order.headers {
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let refuse =
            || Failure::new(FailureKind::Malformed, format!("{name:?} is not a header, or its value is not one"));
        let (name, value) = header.ok_or_else(refuse)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn failure(error: reqwest::Error, order: &Order) -> Failure {
    let error = error.without_url();
    let kind = if error.is_timeout() && !error.is_connect() {
        FailureKind::TooSlow { limit: order.limits.http_timeout }
    } else if error.is_builder() {
        FailureKind::Malformed
    } else {
        FailureKind::Transient
    };
    Failure::new(kind, chain(&error))
}
