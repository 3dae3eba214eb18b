//! Fetches one target: an HTTP GET with limits on time, redirects and bytes, and errors that say what to do. Does not read
//! what it fetches (that is `exposition`), and never fetches anything but the two URLs it was given and where they redirect.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};

use self::body::Limits;
use self::client::{Clients, Pinned};
use self::error::{Error, Progress};
use crate::time::UnixMillis;
use crate::tls;

mod body;
mod client;
pub mod error;
#[cfg(test)]
mod tests;

/// The plain text format; anything else is accepted grudgingly and then refused with a clear text.
const ACCEPT_METRICS: HeaderValue = HeaderValue::from_static("text/plain;version=0.0.4;q=0.9,*/*;q=0.1");
const ACCEPT_ANY: HeaderValue = HeaderValue::from_static("*/*");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip");
const MAX_REDIRECTS: usize = 5;
/// How much of an answer that is not a metrics page is read: for its text, and so that the connection can be reused.
const MAX_ASIDE_BYTES: usize = 16 * 1024;

/// One target.
#[derive(Clone, Debug)]
pub struct Params {
    /// `http` or `https`, without user and password.
    pub url: Url,
    /// What [`Scraper::health`] asks; absent: `url`.
    pub health_url: Option<Url>,
    pub tls: tls::ClientParams,
    pub auth: Auth,
    /// Sent to the target, and not to another origin it redirects to.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For a whole fetch: connection, redirects and body. The caller may ask for less.
    pub timeout: Duration,
    /// Limit of a gzip-encoded body on the wire.
    pub max_compressed_bytes: u64,
    /// Limit of a body as it is read, whether it came compressed or not.
    pub max_decompressed_bytes: u64,
}

/// How the target knows us. Files are read on each fetch, and trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    None,
    Basic { username: String, password_file: PathBuf },
    BearerFile(PathBuf),
}

/// A page, as the target wrote it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Decompressed.
    pub body: Vec<u8>,
    pub head: Head,
}

/// What came with a page.
#[derive(Clone, Debug)]
pub struct Head {
    /// As sent; absent if the target sent none, which counts as text.
    pub content_type: Option<String>,
    /// The target's clock, by its `Date` header.
    pub date: Option<UnixMillis>,
    /// Body bytes as they came over the wire.
    pub wire_bytes: u64,
}

/// Fetches one target, over one connection that is kept alive.
#[derive(Debug)]
pub struct Scraper {
    params: Params,
    clients: Mutex<Clients>,
}

impl Scraper {
    /// Reads the certificate files; connects to nothing.
    ///
    /// # Errors
    /// [`Error::Setup`]: certificate files that cannot be used, or a URL that is not `http` or `https`.
    pub fn new(mut params: Params) -> Result<Self, Error> {
        for url in std::iter::once(&params.url).chain(&params.health_url) {
            if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
                return Err(Error::Setup(format!("{} is no http:// or https:// URL", error::shown(url))));
            }
        }
        // Headers are often keys; marked so, they are never printed.
        params.headers.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
        let pinned = Pinned::new(&params.url, params.tls.server_name.as_deref());
        let clients = Mutex::new(Clients::new(params.tls.clone(), pinned)?);
        Ok(Self { params, clients })
    }

    /// Fetches the whole metrics page, as [`Scraper::read`].
    ///
    /// # Errors
    /// As [`Scraper::read`].
    pub async fn fetch(&self, timeout: Duration) -> Result<Fetched, Error> {
        let mut body = Vec::new();
        let head = self.read(timeout, |text| body.extend_from_slice(text)).await?;
        Ok(Fetched { body, head })
    }

    /// Reads the metrics page, within `timeout` or the target's own, whichever is shorter. `take` gets its text in pieces cut
    /// anywhere, as they come; they are worth something only if the end is good.
    ///
    /// # Errors
    /// Anything but a complete answer with status 200 that looks like an exposition and keeps the limits.
    pub async fn read(&self, timeout: Duration, take: impl FnMut(&[u8])) -> Result<Head, Error> {
        let progress = Progress::default();
        self.within(timeout, &self.params.url, &progress, async {
            let response = self.get(&self.params.url, ACCEPT_METRICS, &progress).await?;
            if response.status() != StatusCode::OK {
                return Err(self.status_error(response).await);
            }
            let content_type = header_text(response.headers(), &header::CONTENT_TYPE);
            error::check_content_type(content_type.as_deref())?;
            let date = header_text(response.headers(), &header::DATE).as_deref().and_then(unix_millis);
            let limits = Limits {
                compressed: self.params.max_compressed_bytes,
                decompressed: self.params.max_decompressed_bytes,
            };
            let wire_bytes = body::read(response, limits, &progress, take).await?;
            Ok(Head { content_type, date, wire_bytes })
        })
        .await
    }

    /// Asks the health URL; any status under 400 is good.
    ///
    /// # Errors
    /// No answer in time, or a bad one.
    pub async fn health(&self, timeout: Duration) -> Result<(), Error> {
        let url = self.params.health_url.as_ref().unwrap_or(&self.params.url);
        let progress = Progress::default();
        self.within(timeout, url, &progress, async {
            let response = self.get(url, ACCEPT_ANY, &progress).await?;
            if response.status().as_u16() >= 400 {
                return Err(self.status_error(response).await);
            }
            body::aside(response, MAX_ASIDE_BYTES).await;
            Ok(())
        })
        .await
    }

    async fn within<T>(
        &self,
        timeout: Duration,
        url: &Url,
        progress: &Progress,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after = timeout.min(self.params.timeout);
        let result = match tokio::time::timeout(after, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout { url: error::shown(url), after, stage: progress.stage() }),
        };
        if let Err(Error::Tls { .. }) = result {
            // The CA may have been rotated a moment ago: look again on the next fetch.
            self.clients().recheck();
        }
        result
    }

    /// Sends a GET and follows redirects. The answer may have any status but a redirect's.
    async fn get(&self, start: &Url, accept: HeaderValue, progress: &Progress) -> Result<Response, Error> {
        let (client, pinned) = {
            let mut clients = self.clients();
            (clients.current()?, clients.pinned())
        };
        let auth = self.authorization().await?;
        let mut url = start.clone();
        let mut visited = vec![start.clone()];
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.clone());
            headers.insert(header::ACCEPT_ENCODING, ACCEPT_ENCODING);
            // Whoever a target redirects to need not learn its secrets.
            if url.origin() == start.origin() {
                if let Some(auth) = &auth {
                    headers.insert(header::AUTHORIZATION, auth.clone());
                }
                headers.extend(self.params.headers.iter().cloned());
            }
            let target = pinned.apply(&url, &mut headers);
            let response = client
                .get(target)
                .headers(headers)
                .send()
                .await
                .map_err(|source| Error::from_request(&url, &source))?;
            progress.answered();
            let Some(next) = redirect(&url, &response)? else { return Ok(response) };
            body::aside(response, MAX_ASIDE_BYTES).await;
            if visited.contains(&next) {
                return Err(Error::Redirect(format!(
                    "{} redirects in a loop, back to {}; check the URL's path and scheme",
                    error::shown(start),
                    error::shown(&next)
                )));
            }
            if visited.len() > MAX_REDIRECTS {
                return Err(Error::Redirect(format!(
                    "{} redirects more than {MAX_REDIRECTS} times, last to {}; use the final URL instead",
                    error::shown(start),
                    error::shown(&next)
                )));
            }
            visited.push(next.clone());
            url = next;
        }
    }

    /// The `Authorization` header, from files as they are now.
    async fn authorization(&self) -> Result<Option<HeaderValue>, Error> {
        let mut value = match &self.params.auth {
            Auth::None => return Ok(None),
            Auth::Basic { username, password_file } => {
                let password = secret("password file", password_file).await?;
                body::basic_auth(username, password.expose_secret(), password_file)?
            }
            Auth::BearerFile(path) => {
                let token = secret("bearer token file", path).await?;
                HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| Error::AuthFile {
                    what: "bearer token file",
                    path: path.clone(),
                    problem: "it holds characters that cannot be sent in a header".to_owned(),
                })?
            }
        };
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn status_error(&self, response: Response) -> Error {
        let status = response.status();
        let text = String::from_utf8_lossy(&body::aside(response, MAX_ASIDE_BYTES).await).into_owned();
        let mut excerpt = error::excerpt(&text);
        let sent = self.params.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        for secret in sent.filter(|value| value.len() >= 4) {
            excerpt = excerpt.replace(secret, "***");
        }
        // A page that repeats what it was sent is not quoted.
        let auth = self.authorization().await.ok().flatten();
        let token = auth.as_ref().and_then(|value| value.to_str().ok()).and_then(|text| text.split(' ').next_back());
        if token.is_some_and(|token| text.contains(token)) {
            excerpt.clear();
        }
        Error::Status {
            status: status.as_u16(),
            advice: error::status_advice(status, &text, &self.params.auth),
            excerpt,
        }
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Where a redirect leads; `None` if the answer is none.
fn redirect(url: &Url, response: &Response) -> Result<Option<Url>, Error> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = header_text(response.headers(), &header::LOCATION) else { return Ok(None) };
    let next = url.join(&location).ok().filter(|next| matches!(next.scheme(), "http" | "https") && next.has_host());
    match next {
        Some(mut next) => {
            // A login in a `Location` is not ours to use.
            let _ = (next.set_username(""), next.set_password(None));
            next.set_fragment(None);
            Ok(Some(next))
        }
        None => Err(Error::Redirect(format!("{} redirects to something that is no URL", error::shown(url)))),
    }
}

async fn secret(what: &'static str, path: &Path) -> Result<SecretString, Error> {
    let problem = match tokio::fs::read_to_string(path).await {
        Ok(text) if !text.trim().is_empty() => return Ok(SecretString::from(text.trim().to_owned())),
        Ok(_) => "it is empty".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Error::AuthFile { what, path: path.to_owned(), problem })
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn unix_millis(date: &str) -> Option<UnixMillis> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(UnixMillis)
}
