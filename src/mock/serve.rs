//! A mock's server: on any address, with or without TLS, stopped when its handle is dropped.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};

use crate::mock::fault::{Fault, Faults};
use crate::tls;

/// A self-signed certificate, made as the mock starts.
#[derive(Clone, Debug)]
pub struct Tls {
    /// DNS names and addresses it is valid for.
    pub names: Vec<String>,
    pub validity: Validity,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    #[default]
    Valid,
    /// It ended years ago.
    Expired,
}

impl Default for Tls {
    fn default() -> Self {
        let names = ["localhost", "127.0.0.1", "virt-api.kubevirt.svc"];
        Self { names: names.map(str::to_owned).to_vec(), validity: Validity::Valid }
    }
}

/// Where and how a mock serves.
#[derive(Clone, Debug)]
pub struct Setup {
    pub listen: SocketAddr,
    /// Absent: plain HTTP.
    pub tls: Option<Tls>,
    pub faults: Vec<Fault>,
}

impl Default for Setup {
    /// Plain HTTP on a free port of loopback, without faults.
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), tls: None, faults: Vec::new() }
    }
}

/// Marks an answer that is never compressed, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    pub faults: Faults,
    pub address: SocketAddr,
    /// The CA that signed its certificate, as PEM, if it speaks TLS.
    pub ca_pem: Option<String>,
    handle: Handle<SocketAddr>,
}

impl Running {
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.graceful_shutdown(Some(Duration::ZERO));
    }
}

/// Starts a server on the current Tokio runtime, with faults before its routes, and gzip for whoever asks.
///
/// # Errors
/// An address that cannot be had, or names that make no certificate.
pub async fn start(setup: Setup, router: Router) -> anyhow::Result<Running> {
    let Setup { listen, tls, faults } = setup;
    tls::install_provider();
    let faults = Faults::new(faults);
    let wanted = |_: StatusCode, _: Version, _: &HeaderMap, marks: &Extensions| marks.get::<Plain>().is_none();
    let compression = CompressionLayer::new().compress_when(DefaultPredicate::new().and(wanted));
    let router = faults.around(router).layer(compression);
    let listener = std::net::TcpListener::bind(listen).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!("{listen} is in use; choose another address with `--listen`"),
        _ => anyhow::Error::new(error).context(format!("cannot listen on {listen}")),
    })?;
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let service = router.into_make_service();
    let ca_pem = match tls {
        None => {
            let server = axum_server::from_tcp(listener)?.handle(handle.clone());
            tokio::spawn(async move { server.serve(service).await });
            None
        }
        Some(tls) => {
            let Identity { ca, chain, key } = identity(&tls).context("cannot make a certificate")?;
            let config = RustlsConfig::from_pem(chain.into_bytes(), key.into_bytes()).await?;
            let server = axum_server::from_tcp_rustls(listener, config)?.handle(handle.clone());
            tokio::spawn(async move { server.serve(service).await });
            Some(ca)
        }
    };
    Ok(Running { faults, address, ca_pem, handle })
}

/// All PEM.
struct Identity {
    ca: String,
    chain: String,
    key: String,
}

fn identity(tls: &Tls) -> Result<Identity, rcgen::Error> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "promdog mock CA");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let mut leaf = CertificateParams::new(tls.names.clone())?;
    leaf.distinguished_name.push(DnType::CommonName, "promdog mock");
    if tls.validity == Validity::Expired {
        leaf.not_before = rcgen::date_time_ymd(2020, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2020, 12, 31);
    }
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &ca)?;
    Ok(Identity { ca: ca.pem(), chain: format!("{}{}", leaf.pem(), ca.pem()), key: key.serialize_pem() })
}
