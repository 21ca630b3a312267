//! Answers as JSON: with an `ETag`, compressed where that is worth it and the client takes it.

use std::io::Write as _;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use greentune_core_config::{Problem, ProblemKind};
use greentune_http_server::Refusal;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Bytes from which an answer is compressed: fewer fit into one packet anyway.
const WORTH_COMPRESSING: usize = 1400;

/// `value` as JSON; 304 when the client has it already.
pub(crate) fn json(asked: &HeaderMap, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => text(asked, "application/json", bytes),
        Err(error) => {
            let message = format!("an answer cannot be JSON: {error}");
            Refusal::from(Problem::new(ProblemKind::Internal, "http.answer", message)).into_response()
        }
    }
}

/// A text of `kind`; 304 when the client has it already.
pub(crate) fn text(asked: &HeaderMap, kind: &'static str, bytes: Vec<u8>) -> Response {
    let tag = tag_of(&bytes);
    let mut response = if has(asked, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let is_compressed = bytes.len() >= WORTH_COMPRESSING && takes_gzip(asked);
        let bytes = match is_compressed.then(|| gzip(&bytes, Compression::fast())) {
            Some(compressed) => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                compressed
            }
            None => bytes,
        };
        *response.body_mut() = Body::from(bytes);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Authorization"));
    // What is kept has to be asked for again, by the same caller.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (header::ETAG, tag)));
    response
}

/// A weak tag: the same text may be sent with and without compression.
pub(crate) fn tag_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    // 12 bytes tell answers apart.
    let short = digest.iter().take(12).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    format!("W/\"{short:024x}\"")
}

/// Whether the client has the answer with `tag` already.
pub(crate) fn has(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == &tag[2..])
}

/// Whether the client takes gzip.
pub(crate) fn takes_gzip(asked: &HeaderMap) -> bool {
    let taken = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    taken.flat_map(|line| line.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let is_refused = weight.trim().trim_start_matches("q=").parse() == Ok(0.0);
        (name.trim() == "gzip" || name.trim() == "*") && !is_refused
    })
}

pub(crate) fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    // Nothing fails in memory.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (value, is_taken) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&asked(header::ACCEPT_ENCODING, value)), is_taken, "{value}");
        }
        let long = "x".repeat(5000);
        let response = json(&asked(header::ACCEPT_ENCODING, "gzip"), &long);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(json(&HeaderMap::new(), &long).headers().get(header::CONTENT_ENCODING).is_none());
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let first = json(&HeaderMap::new(), &[1, 2]);
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, HeaderValue::try_from(format!("\"other\", {tag}")).unwrap());
        assert_eq!(json(&again, &[1, 2]).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(json(&again, &[1, 3]).status(), StatusCode::OK);
    }
}
