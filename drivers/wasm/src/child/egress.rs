//! Requests that a component makes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::HOST;
use http_body_util::{BodyDataStream, BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::sockets::Reach;

/// How long each step may take where the component does not say.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends what a component asks for, if it goes to whom it may speak.
#[derive(Debug)]
pub(super) struct Egress {
    reach: Arc<Reach>,
    /// Made for the first request: most components make none.
    client: OnceLock<Option<reqwest::Client>>,
}

impl Egress {
    pub(super) fn new(reach: Arc<Reach>) -> Arc<Self> {
        Arc::new(Self { reach, client: OnceLock::new() })
    }

    fn client(&self) -> Result<&reqwest::Client, Error> {
        // A redirect is the component's to follow, or it would lead past the list of hosts; so would a proxy.
        let build = || reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().ok();
        self.client.get_or_init(build).as_ref().ok_or(Error::ConfigurationError)
    }

    async fn send(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<http::Response<WasiBody>, Error> {
        let (parts, body) = request.into_parts();
        let url = reqwest::Url::parse(&parts.uri.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
        // Asked of what will be connected to, not of what the component wrote.
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(Error::HttpRequestUriInvalid);
        };
        if !self.reach.allows(host, port) {
            return Err(Error::HttpRequestDenied);
        }
        let mut headers = parts.headers;
        headers.remove(HOST);
        let mut builder = self.client()?.request(parts.method, url).headers(headers);
        if !body.is_end_stream() && body.size_hint().exact() != Some(0) {
            builder = builder.body(reqwest::Body::wrap_stream(BodyDataStream::new(body)));
        }
        let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } = options;
        let patience = connect_timeout.unwrap_or(PATIENCE).saturating_add(first_byte_timeout.unwrap_or(PATIENCE));
        let answer = tokio::time::timeout(patience, builder.send()).await.map_err(|_| Error::HttpResponseTimeout)?;
        let answer: http::Response<reqwest::Body> = answer.map_err(|error| failure(&error))?.into();
        Ok(answer.map(|body| patient(body, between_bytes_timeout.unwrap_or(PATIENCE))))
    }
}

/// `body`, failing when it pauses for longer than `pause`.
fn patient(body: reqwest::Body, pause: Duration) -> WasiBody {
    let frames = futures::stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(pause, body.frame()).await {
            Ok(None) => None,
            Ok(Some(Ok(frame))) => Some((Ok::<Frame<Bytes>, Error>(frame), Some(body))),
            Ok(Some(Err(error))) => Some((Err(failure(&error)), None)),
            Err(_) => Some((Err(Error::ConnectionReadTimeout), None)),
        }
    });
    StreamBody::new(frames.boxed()).boxed_unsync()
}

fn failure(error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        Error::ConnectionTimeout
    } else if error.is_connect() {
        Error::Connect(std::io::Error::other(error.to_string()))
    } else {
        Error::InternalError(Some(error.to_string()))
    }
}

/// What one instance is given of it.
#[derive(Debug, Clone)]
pub(super) struct Hooks(pub(super) Arc<Egress>);

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let egress = Arc::clone(&self.0);
        Box::new(async move {
            let answer = egress.send(request, options.unwrap_or_default()).await?;
            Ok((answer, Box::new(std::future::ready(Ok(()))) as Box<dyn Future<Output = Result<(), Error>> + Send>))
        })
    }
}
