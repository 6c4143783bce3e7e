//! Answers made smaller for those who accept it. Only what is in memory as a whole passes through here, never a stream.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;

use crate::{Body, Response, limits, telemetry};

/// Marks an answer whose body is in memory as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole;

/// Whether a request with these headers accepts gzip.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let mut accepted = None;
    let mut any = false;
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        for entry in value.to_str().unwrap_or("").split(',') {
            let (name, parameter) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = parameter.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
            let wanted = weight.is_ok_and(|weight| weight > 0.0);
            match name.trim() {
                "gzip" | "x-gzip" => accepted = Some(wanted),
                "*" => any = wanted,
                _ => {}
            }
        }
    }
    accepted.unwrap_or(any)
}

/// Makes an answer smaller where it is whole and that pays.
pub(crate) async fn squeeze(mut response: Response, accepted: bool) -> Response {
    if response.extensions_mut().remove::<Whole>().is_none() {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !accepted {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A body in memory neither waits nor fails.
    let plain = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if plain.len() < limits::GZIP_BYTES {
        return Response::from_parts(parts, Body::from(plain));
    }
    let squeezed = if plain.len() < limits::GZIP_BLOCKING_BYTES {
        gzip(&plain)
    } else {
        let shared = plain.clone();
        match tokio::task::spawn_blocking(move || gzip(&shared)).await {
            Ok(squeezed) => squeezed,
            Err(error) => {
                tracing::warn!(%error, "an answer could not be compressed");
                return Response::from_parts(parts, Body::from(plain));
            }
        }
    };
    telemetry::compressed(plain.len(), squeezed.len());
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(squeezed))
}

/// `plain` as a gzip file. Lists repeat names and ids, so the fastest level wins most of what there is to win.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4 + 64), Compression::fast());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gunzip(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut plain).unwrap();
        plain
    }

    #[test]
    fn what_was_made_smaller_is_what_it_was() {
        let random = |n: u32| n.wrapping_mul(n).wrapping_mul(0x9e37_79b1).to_be_bytes()[1];
        let noise: Vec<u8> = (0..100_000).map(random).collect();
        let rows: String = (0..4000).map(|n| format!("{{\"ID\":\"{n:08x}\",\"Status\":\"running\"}},")).collect();
        let far = [&noise[..33_000], &noise[..33_000]].concat();
        for plain in [b"" as &[u8], b"a", b"abcabcabcabc", &[0xff; 1000], &noise, rows.as_bytes(), &far] {
            assert!(gunzip(&gzip(plain)) == plain, "{} bytes", plain.len());
        }
        assert!(gzip(rows.as_bytes()).len() * 6 < rows.len(), "{} of {}", gzip(rows.as_bytes()).len(), rows.len());
    }

    #[test]
    fn gzip_is_used_only_where_it_is_accepted() {
        for (given, accepted) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("gzip;q=0.0", false),
            ("deflate, br", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(given))]);
            assert_eq!(is_accepted(&headers), accepted, "{given}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }
}
