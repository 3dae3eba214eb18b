//! Why there is no list, each with the one thing to do about it.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::{self, CertificateProblem};

/// Why the cluster could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no Kubernetes cluster to list: {0}; give a kubeconfig or the API server's URL, or turn the inventory off")]
    NoCluster(String),
    #[error("kubeconfig {} cannot be used: {problem}", path.display())]
    Kubeconfig { path: PathBuf, problem: String },
    #[error("the Kubernetes client cannot be made: {0}")]
    Config(String),
    #[error(transparent)]
    Files(#[from] tls::Error),
    #[error("token file {}: {problem}", path.display())]
    TokenFile { path: PathBuf, problem: String },
    #[error("{host} does not know us (401): the token or certificate is missing, expired, or of another cluster")]
    Unauthorized { host: String },
    #[error("{host} does not let us list {kind} (403): grant the cluster role kubevirt.io:view, {}", grant(account.as_deref()))]
    Forbidden {
        host: String,
        kind: &'static str,
        /// The service account, as the API server calls it: `namespace:name`.
        account: Option<String>,
    },
    #[error(
        "{host} has no {kind} in kubevirt.io/v1 (404): KubeVirt is not installed there; turn the inventory off, or check the URL"
    )]
    NoKubeVirt { host: String, kind: &'static str },
    #[error(
        "{host} forgot the list of {kind} while it was read (410), twice; it is overloaded, or the page size is too small"
    )]
    Expired { host: String, kind: &'static str },
    #[error("{host} answered {code}: {message}")]
    Status { host: String, code: u16, message: String },
    #[error("{host} gave no answer within {after:?}; check that it can be reached from here")]
    Timeout { host: String, after: Duration },
    #[error("cannot reach {host}: {cause}")]
    Unreachable { host: String, cause: String },
    #[error("{host}: {}", certificate(problem))]
    Certificate { host: String, problem: CertificateProblem },
    #[error("{host} answered with no list of {kind}: {problem}")]
    Malformed { host: String, kind: &'static str, problem: String },
}

impl Error {
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoCluster(_) | Self::Kubeconfig { .. } | Self::Config(_) | Self::Files(_) => "config",
            Self::TokenFile { .. } => "token_file",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NoKubeVirt { .. } => "no_kubevirt",
            Self::Expired { .. } => "expired",
            Self::Status { .. } => "status",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Certificate { .. } => "tls",
            Self::Malformed { .. } => "malformed",
        }
    }

    pub(super) fn from_kube(host: &str, kind: &'static str, source: &kube::Error) -> Self {
        let host = host.to_owned();
        let kube::Error::Api(status) = source else {
            return match tls::certificate_advice(source) {
                Some(problem) => Self::Certificate { host, problem },
                None => Self::Unreachable { host, cause: causes(source) },
            };
        };
        match status.code {
            401 => Self::Unauthorized { host },
            403 => Self::Forbidden { host, kind, account: account(&status.message) },
            404 => Self::NoKubeVirt { host, kind },
            410 => Self::Expired { host, kind },
            code => Self::Status { host, code, message: status.message.chars().take(200).collect() },
        }
    }
}

/// The innermost cause, which says more than the wrappings around it.
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// The service account in `User "system:serviceaccount:NAMESPACE:NAME" cannot list …`.
fn account(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("system:serviceaccount:")?;
    let (account, _) = rest.split_once('"')?;
    account.contains(':').then(|| account.to_owned())
}

fn grant(account: Option<&str>) -> String {
    format!(
        "with `kubectl create clusterrolebinding promdog --clusterrole=kubevirt.io:view --serviceaccount={}`",
        account.unwrap_or("NAMESPACE:ACCOUNT")
    )
}

fn certificate(problem: &CertificateProblem) -> String {
    let advice = match problem {
        CertificateProblem::UnknownIssuer => "; give the cluster's CA file",
        CertificateProblem::WrongName { .. } => "; use one of these names in the URL",
        CertificateProblem::Expired | CertificateProblem::NotYetValid => "; check the clocks of both machines",
        CertificateProblem::Other(_) => "",
    };
    format!("{}{advice}", problem.fact())
}
