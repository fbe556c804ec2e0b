//! The style sheet, the script and the icon, each under an address that names its content, so that browsers may keep it for ever.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;

use crate::auth::sha256;
use crate::domain::call::to_hex;
use crate::problem::{Code, Problem};

use super::Visit;

/// Characters of the content's hash in an address.
const HASH_CHARS: usize = 16;

struct Asset {
    address: String,
    media_type: &'static str,
    content: &'static str,
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| asset("style", "css", "text/css; charset=utf-8", include_str!("assets/style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| asset("live", "js", "text/javascript; charset=utf-8", include_str!("assets/live.js")));
static ICON: LazyLock<Asset> = LazyLock::new(|| asset("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

fn asset(name: &str, extension: &str, media_type: &'static str, content: &'static str) -> Asset {
    let hash = to_hex(&sha256(content.as_bytes()));
    Asset { address: format!("/dashboard/assets/{name}-{}.{extension}", &hash[..HASH_CHARS]), media_type, content }
}

/// Where the style sheet is.
pub(super) fn style() -> &'static str {
    &STYLE.address
}

/// Where the script is.
pub(super) fn script() -> &'static str {
    &SCRIPT.address
}

/// Where the icon is.
pub(super) fn icon() -> &'static str {
    &ICON.address
}

/// `GET /dashboard/assets/{name}`
pub(super) async fn serve(visit: Visit) -> Result<Response, Problem> {
    let found = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.address == visit.address);
    let asset = found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such file; reload the page"))?;
    Ok(([(CONTENT_TYPE, asset.media_type)], asset.content).into_response())
}
