//! The metrics of this crate: names, units and meaning, in one place.

use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const REQUEST: &str = "nomad.http.request";
const WAITS_REFUSED: &str = "nomad.http.waits_refused";
const GZIP_IN: &str = "nomad.http.gzip.in";
const GZIP_OUT: &str = "nomad.http.gzip.out";

/// Tells whoever records metrics what each of them means.
pub(crate) fn describe() {
    let request =
        "From a request's arrival to its answer's head, by method and class of status; waiting reads count whole";
    describe_histogram!(REQUEST, Unit::Seconds, request);
    describe_counter!(WAITS_REFUSED, Unit::Count, "Reads that were refused because too many waited");
    describe_counter!(GZIP_IN, Unit::Bytes, "What was compressed of answers");
    describe_counter!(GZIP_OUT, Unit::Bytes, "What that became");
}

/// A read could not wait, because too many did.
pub(crate) fn wait_refused() {
    counter!(WAITS_REFUSED).increment(1);
}

/// An answer was compressed.
pub(crate) fn compressed(plain: usize, squeezed: usize) {
    counter!(GZIP_IN).increment(u64::try_from(plain).unwrap_or(u64::MAX));
    counter!(GZIP_OUT).increment(u64::try_from(squeezed).unwrap_or(u64::MAX));
}

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
    histogram!(REQUEST, "method" => method, "status" => class).record(took.as_secs_f64());
}
