//! TLS for everything that connects out: one crypto provider, client configurations from PEM files, and what to tell the
//! operator when a certificate is refused. Listens nowhere and sends nothing.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use self::bundle::{Bundle, State};
use self::verify::{AcceptAny, Renamed};

pub mod bundle;
#[cfg(test)]
mod tests;
mod verify;

/// How to verify a server, and how to identify ourselves to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientParams {
    /// PEM file with the CAs to trust *instead of* the system's; absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// CAs that are not in a file, trusted instead of all others. While they are missing nothing can be connected to.
    pub ca_bundle: Option<Bundle>,
    /// PEM file with our certificate, leaf first. Needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key of `cert_file`.
    pub key_file: Option<PathBuf>,
    /// The name the server's certificate must be valid for; absent: the URL's host.
    pub server_name: Option<String>,
    /// Accept any certificate. `server_name` is then only sent, not verified.
    pub insecure_skip_verify: bool,
}

impl ClientParams {
    /// The files this configuration is made of, for whoever watches them for changes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().filter_map(|file| file.as_deref())
    }
}

/// Why no client configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {what} {}: {source}", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{what} {} is not PEM: {source}", path.display())]
    Pem { what: &'static str, path: PathBuf, source: pem::Error },
    #[error("no certificate in {what} {}; it must hold PEM blocks that begin with `-----BEGIN CERTIFICATE-----`", path.display())]
    NoCertificate { what: &'static str, path: PathBuf },
    #[error("no private key in key file {}; it must hold an unencrypted PKCS#8, PKCS#1 or SEC1 key as PEM", path.display())]
    NoKey { path: PathBuf },
    #[error("no certificate of CA file {} can be used: {source}", path.display())]
    BadCa { path: PathBuf, source: rustls::Error },
    #[error("there are no CA certificates to verify the target with: {0}")]
    MissingBundle(String),
    #[error("no CA certificates on this system; install them (package `ca-certificates`), or give a CA file")]
    NoSystemRoots,
    #[error("a client certificate needs both a certificate file and a key file; the {missing} is missing")]
    HalfIdentity { missing: &'static str },
    #[error("key file {} does not belong to certificate file {}", key.display(), cert.display())]
    KeyMismatch { cert: PathBuf, key: PathBuf },
    #[error("certificate file {} and key file {} cannot be used: {source}", cert.display(), key.display())]
    BadIdentity { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("`{0}` is no server name; give a DNS name or an IP address, without scheme and port")]
    BadServerName(String),
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// Makes ring the process's crypto provider. May be called any number of times, from anywhere.
pub fn install_provider() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // An error means that somebody else installed one first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Reads the files and makes a configuration without ALPN; the files are not looked at again.
///
/// # Errors
/// A file that is missing, unreadable or not what it should be; no CA at all.
pub fn client_config(params: &ClientParams) -> Result<ClientConfig, Error> {
    let ClientParams { ca_file, ca_bundle, cert_file, key_file, server_name, insecure_skip_verify } = params;
    install_provider();
    let provider = CryptoProvider::get_default().ok_or_else(|| Error::Setup("no crypto provider".to_owned()))?;

    let rename = server_name.as_deref().map(parse_server_name).transpose()?;
    let verifier: Arc<dyn ServerCertVerifier> = if *insecure_skip_verify {
        Arc::new(AcceptAny { provider: Arc::clone(provider) })
    } else {
        let roots = match (ca_bundle, ca_file) {
            (Some(bundle), _) => Arc::new(bundle_roots(bundle)?),
            (None, Some(path)) => Arc::new(roots_of(path, read_ca_file(path)?)?),
            (None, None) => system_roots()?,
        };
        let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        match rename {
            Some(name) => Arc::new(Renamed { inner, name }),
            None => inner,
        }
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);

    match (cert_file, key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) => Err(Error::HalfIdentity { missing: "key file" }),
        (None, Some(_)) => Err(Error::HalfIdentity { missing: "certificate file" }),
        (Some(cert), Some(key)) => {
            let chain = read_certificates("certificate file", cert)?;
            builder.with_client_auth_cert(chain, read_key(key)?).map_err(|source| match source {
                rustls::Error::InconsistentKeys(_) => Error::KeyMismatch { cert: cert.clone(), key: key.clone() },
                source => Error::BadIdentity { cert: cert.clone(), key: key.clone(), source },
            })
        }
    }
}

/// The name as TLS knows it.
///
/// # Errors
/// Neither a DNS name nor an IP address.
pub fn parse_server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| Error::BadServerName(name.to_owned()))
}

/// The certificates of a PEM bundle, at least one.
///
/// # Errors
/// The file cannot be read, is no PEM, or holds no certificate.
pub fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    read_certificates("CA file", path)
}

fn read_certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates_in(what, path, &read(what, path)?)
}

fn certificates_in(what: &'static str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| Error::Pem { what, path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(Error::NoCertificate { what, path: path.to_owned() });
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = read("key file", path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| match source {
        pem::Error::NoItemsFound => Error::NoKey { path: path.to_owned() },
        source => Error::Pem { what: "key file", path: path.to_owned(), source },
    })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { what, path: path.to_owned(), source })
}

fn roots_of(path: &Path, certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let mut refused = None;
    // A bundle may hold a certificate that webpki cannot use beside good ones.
    for certificate in certificates {
        if let Err(error) = roots.add(certificate) {
            refused = Some(error);
        }
    }
    match refused {
        Some(source) if roots.is_empty() => Err(Error::BadCa { path: path.to_owned(), source }),
        _ => Ok(roots),
    }
}

fn bundle_roots(bundle: &Bundle) -> Result<RootCertStore, Error> {
    match bundle.now() {
        State::Here(pem) => {
            let name = Path::new("of the cluster");
            roots_of(name, certificates_in("CA bundle", name, &pem)?)
        }
        State::Missing(reason) => Err(Error::MissingBundle(reason.to_string())),
    }
}

/// The system's CAs (or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`), loaded once per process.
fn system_roots() -> Result<Arc<RootCertStore>, Error> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() { Err(Error::NoSystemRoots) } else { Ok(Arc::clone(roots)) }
}

/// Why a server's certificate was refused. `Display` says it and what to do about a target; see [`Self::fact`] for the
/// first half alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// Signed by nobody we trust, or by itself.
    UnknownIssuer,
    /// Valid for other names than the one asked for.
    WrongName {
        expected: String,
        /// DNS names and IP addresses of the certificate; may be empty.
        presented: Vec<String>,
    },
    Expired,
    NotYetValid,
    /// Anything else, in the verifier's words.
    Other(String),
}

impl CertificateProblem {
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongName { .. } => "wrong_name",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Other(_) => "other",
        }
    }

    /// What is wrong, without advice.
    #[must_use]
    pub fn fact(&self) -> String {
        match self {
            Self::UnknownIssuer => "the server's certificate is signed by an unknown authority".to_owned(),
            Self::WrongName { expected, presented } if presented.is_empty() => {
                format!("the server's certificate is not valid for `{expected}`; it names no host at all")
            }
            Self::WrongName { expected, presented } => {
                format!("the server's certificate is not valid for `{expected}`, but for {}", listed(presented))
            }
            Self::Expired => "the server's certificate has expired".to_owned(),
            Self::NotYetValid => "the server's certificate is not valid yet".to_owned(),
            Self::Other(text) => format!("the server's certificate is refused: {text}"),
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fact())?;
        match self {
            Self::UnknownIssuer => f.write_str(
                "; give its CA with `--target.ca-file FILE`, or trust it blindly with `--target.insecure-skip-verify`",
            ),
            Self::WrongName { presented, .. } => match presented.iter().find(|name| !name.starts_with('*')) {
                Some(name) => write!(f, "; if that is the right server, add `--target.server-name {name}`"),
                None => f.write_str("; if that is the right server, add `--target.server-name NAME`"),
            },
            Self::Expired => f.write_str("; renew it, and check the clocks of both machines"),
            Self::NotYetValid => f.write_str("; check the clocks of both machines"),
            Self::Other(_) => Ok(()),
        }
    }
}

/// At most six names, quoted.
fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(6).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(6).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Looks for a refused certificate in an error and its sources (through [`io::Error`], which hides what it wraps).
#[must_use]
pub fn certificate_advice(error: &(dyn StdError + 'static)) -> Option<CertificateProblem> {
    match tls_error(error)? {
        rustls::Error::InvalidCertificate(problem) => Some(describe(problem)),
        _ => None,
    }
}

/// The TLS error at the bottom of an error, if there is one.
#[must_use]
pub fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn describe(problem: &CertificateError) -> CertificateProblem {
    match problem {
        // A bad signature: a CA of the same name but with another key, as after a rotation.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => CertificateProblem::UnknownIssuer,
        // A CA certificate that a server presents as its own: self-signed, in practice.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            CertificateProblem::UnknownIssuer
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateProblem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CertificateProblem::NotYetValid,
        CertificateError::NotValidForNameContext { expected, presented } => CertificateProblem::WrongName {
            expected: expected.to_str().into_owned(),
            presented: presented.iter().map(|name| plain_name(name)).collect(),
        },
        other => CertificateProblem::Other(other.to_string()),
    }
}

/// `DnsName("a.b")` and `IpAddress(1.2.3.4)`, as webpki lists them, without the wrapping.
fn plain_name(listed: &str) -> String {
    let inner = listed.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(listed);
    inner.trim_matches('"').to_owned()
}
