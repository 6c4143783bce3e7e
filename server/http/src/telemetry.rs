//! The metrics of this crate.

use std::time::Duration;

use http::{Method, StatusCode};

/// Seconds from a request's arrival to its answer's head, by method and class of status. Waiting reads count whole.
const REQUEST_SECONDS: &str = "http_request_seconds";

/// Counts a request that was answered.
pub(crate) fn request(method: &Method, status: StatusCode, took: Duration) {
    let class = match status.as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    let method = match *method {
        Method::GET | Method::HEAD => "read",
        Method::PUT | Method::POST | Method::DELETE => "write",
        _ => "other",
    };
    metrics::histogram!(REQUEST_SECONDS, "method" => method, "status" => class).record(took.as_secs_f64());
}
