//! Signing in with a token, for browsers, which send none by themselves. The token itself is kept, by the browser alone, in a cookie that
//! ends with its session; the server keeps nothing.

use axum::extract::Request;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portreeve_core::limits;
use portreeve_runtime::server::calls::{Calls, Refused};
use url::form_urlencoded;

use super::PATH;

/// Sent to this very host alone, over secured connections alone (or within one machine), out of reach of scripts and of other sites.
const COOKIE: &str = "__Host-portreeve-token";
const KEPT: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// What a visitor who signed in sends instead of an `Authorization` header; that header itself counts first.
pub(super) fn authorization(headers: &HeaderMap) -> Option<HeaderValue> {
    if headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, token)| *name == COOKIE && !token.is_empty())?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) async fn sign_in(calls: Result<Calls, Refused>, request: Request) -> Response {
    if let Err(refused) = calls {
        return refused.into_response();
    }
    let Ok(body) = axum::body::to_bytes(request.into_body(), limits::PAGE_TOKEN_BYTES_MAX).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the token is longer than any\n").into_response();
    };
    let token =
        form_urlencoded::parse(&body).find(|(name, _)| name == "token").map(|(_, token)| token.trim().to_owned());
    // What a JWT is made of: nothing that means something in a cookie.
    let plain =
        |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match token.filter(plain) {
        Some(token) => go(&format!("{COOKIE}={token}; {KEPT}")),
        None => (StatusCode::BAD_REQUEST, "this is no token: it has letters, digits, hyphens and two dots\n")
            .into_response(),
    }
}

pub(super) async fn sign_out(calls: Result<Calls, Refused>) -> Response {
    match calls {
        Ok(_) => go(&format!("{COOKIE}=; Max-Age=0; {KEPT}")),
        Err(refused) => refused.into_response(),
    }
}

fn go(cookie: &str) -> Response {
    let Ok(mut cookie) = HeaderValue::from_str(cookie) else { return StatusCode::BAD_REQUEST.into_response() };
    cookie.set_sensitive(true);
    ([(header::SET_COOKIE, cookie)], Redirect::to(PATH)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_stands_for_a_header_and_never_before_one() {
        let read = |pairs: &[(header::HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, value.parse().unwrap());
            }
            authorization(&headers).map(|value| value.to_str().unwrap().to_owned())
        };
        let cookie = |value| (header::COOKIE, value);
        assert_eq!(read(&[cookie("a=b; __Host-portreeve-token=x.y.z")]), Some("Bearer x.y.z".into()));
        assert_eq!(read(&[cookie("a=b"), cookie("__Host-portreeve-token=x.y.z")]), Some("Bearer x.y.z".into()));
        for none in [&[cookie("portreeve-token=x")][..], &[cookie("__Host-portreeve-token=")], &[]] {
            assert_eq!(read(none), None);
        }
        assert_eq!(read(&[cookie("__Host-portreeve-token=x"), (header::AUTHORIZATION, "Bearer y")]), None);
    }
}
