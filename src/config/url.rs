//! URLs that operators write: without passwords, and shown without secrets.

use reqwest::Url;

/// Query parameters whose values are secrets, by a part of their name.
const SECRET: [&str; 7] = ["token", "key", "pass", "secret", "sig", "auth", "cred"];

/// Reads an `http` or `https` URL without user and password.
///
/// # Errors
/// What is wrong with it, and what to do; the text holds no password.
pub fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("a URL begins with http:// or https:// and a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no user or password in a URL; use `basic_auth` with a `password_file`".to_owned());
    }
    Ok(url)
}

/// The URL as it may be shown: no user, password or fragment, and `***` for values of query parameters that look secret.
#[must_use]
pub fn mask_url(url: &Url) -> String {
    let mut shown = url.clone();
    // A URL without a host can have neither, and then there is nothing to remove.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.set_fragment(None);
    if url.query().is_some() {
        let secret = |name: &str| SECRET.iter().any(|part| name.to_lowercase().contains(part));
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| (name.to_string(), if secret(&name) { "***".to_owned() } else { value.to_string() }))
            .collect();
        if pairs.iter().any(|(_, value)| value == "***") {
            shown.query_pairs_mut().clear().extend_pairs(pairs);
        }
    }
    shown.to_string()
}

/// Another path at the same origin.
#[must_use]
pub fn at_origin(url: &Url, path: &str) -> Url {
    let mut other = url.clone();
    other.set_path(path);
    other.set_query(None);
    other.set_fragment(None);
    other
}
