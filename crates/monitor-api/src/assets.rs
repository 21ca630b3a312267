//! The pages of the dashboard, which hold no data, and the OpenAPI document.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use flate2::Compression;

use crate::{openapi, respond};

/// Nothing from elsewhere, no script and no style in the page itself, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that is served to everybody.
struct Asset {
    kind: &'static str,
    text: Vec<u8>,
    compressed: Vec<u8>,
    tag: String,
}

impl Asset {
    fn new(kind: &'static str, text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        Self {
            kind,
            compressed: respond::gzip(&text, Compression::best()),
            tag: respond::tag_of(&text),
            text,
        }
    }

    fn respond(&self, asked: &HeaderMap) -> Response {
        let mut response = if respond::has(asked, &self.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if respond::takes_gzip(asked) {
            let mut response = Response::new(Body::from(self.compressed.clone()));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            Response::new(Body::from(self.text.clone()))
        };
        let headers = response.headers_mut();
        let fixed = [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "Accept-Encoding"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        headers.extend(HeaderValue::try_from(&self.tag).ok().map(|tag| (header::ETAG, tag)));
        response
    }
}

static PAGE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/html; charset=utf-8", include_str!("../assets/index.html")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/javascript; charset=utf-8", include_str!("../assets/dashboard.js")));
static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/css; charset=utf-8", include_str!("../assets/dashboard.css")));
static DOCUMENT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("application/json", openapi::document().to_string()));

/// The routes of all of them.
pub(crate) fn routes() -> Router {
    let route = |asset: &'static LazyLock<Asset>| {
        get(move |request: Request| async move { asset.respond(request.headers()) })
    };
    Router::new()
        .route("/", route(&PAGE))
        .route("/dashboard.js", route(&SCRIPT))
        .route("/dashboard.css", route(&STYLE))
        .route("/openapi.json", route(&DOCUMENT))
}
