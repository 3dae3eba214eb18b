//! Why the API server told us nothing, each with the one thing to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::core::Status;

use crate::tls::{self, CertificateProblem};

/// What was asked of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub verb: &'static str,
    /// The resource's plural name.
    pub kind: &'static str,
    /// Absent: in all of them.
    pub namespace: Option<String>,
    /// Of a single object.
    pub name: Option<String>,
}

/// `list pods in namespace kubevirt`, `get configmaps kubevirt-ca in namespace kubevirt`.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, kind, namespace, name } = self;
        write!(f, "{verb} {kind}")?;
        if let Some(name) = name {
            write!(f, " {name}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// Why the API server told us nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no Kubernetes cluster is known: this is no pod, and there is no kubeconfig ({0}); give `kubernetes:` a `kubeconfig` or the API server's `url`"
    )]
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
    #[error("{host} does not let us {attempt} (403): {}", grant(attempt, account.as_deref()))]
    Forbidden {
        host: String,
        attempt: Attempt,
        /// The service account, as the API server calls it: `namespace:name`.
        account: Option<String>,
    },
    #[error("{host} cannot {attempt} (404): {}", missing(attempt))]
    NotFound { host: String, attempt: Attempt },
    #[error("{host} no longer knows what came before (410), asked to {attempt}; it may be overloaded")]
    Expired { host: String, attempt: Attempt },
    #[error("{host} answered {code} when asked to {attempt}: {message}")]
    Status { host: String, attempt: Attempt, code: u16, message: String, retry_after: Option<Duration> },
    #[error("{host} gave no answer within {after:?}; check that it can be reached from here")]
    Timeout { host: String, after: Duration },
    #[error("cannot reach {host}: {cause}")]
    Unreachable { host: String, cause: String },
    #[error("{host}: {}", certificate(problem))]
    Certificate { host: String, problem: CertificateProblem },
    #[error("{host}, asked for {kind}, gave an answer that makes no sense: {problem}")]
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
            Self::NotFound { .. } => "not_found",
            Self::Expired { .. } => "expired",
            Self::Status { .. } => "status",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Certificate { .. } => "tls",
            Self::Malformed { .. } => "malformed",
        }
    }

    /// When the API server wants to be asked again, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether files that say who we are, or whom we trust, may have changed.
    pub(super) fn concerns_identity(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Certificate { .. })
    }

    pub(super) fn from_kube(host: &str, attempt: &Attempt, source: &kube::Error) -> Self {
        let host = host.to_owned();
        match source {
            kube::Error::Api(status) => Self::from_status(host, attempt, status),
            source => match tls::certificate_advice(source) {
                Some(problem) => Self::Certificate { host, problem },
                None => Self::Unreachable { host, cause: causes(source) },
            },
        }
    }

    pub(super) fn from_status(host: String, attempt: &Attempt, status: &Status) -> Self {
        let attempt = attempt.clone();
        match status.code {
            401 => Self::Unauthorized { host },
            403 => Self::Forbidden { host, attempt, account: account(&status.message) },
            404 => Self::NotFound { host, attempt },
            410 => Self::Expired { host, attempt },
            code => {
                let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let retry_after = (asked > 0).then(|| Duration::from_secs(asked.into()));
                let message = status.message.chars().take(200).collect();
                Self::Status { host, attempt, code, message, retry_after }
            }
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

/// What to do about a right that is missing.
fn grant(Attempt { kind, namespace, name, .. }: &Attempt, account: Option<&str>) -> String {
    let account = account.unwrap_or("NAMESPACE:ACCOUNT");
    let Some(namespace) = namespace else {
        return format!(
            "grant the cluster role kubevirt.io:view, with `kubectl create clusterrolebinding promdog \
             --clusterrole=kubevirt.io:view --serviceaccount={account}`"
        );
    };
    let verbs = if name.is_some() { "get" } else { "list,watch" };
    let name = name.iter().map(|name| format!(" --resource-name={name}")).collect::<String>();
    let role = format!("promdog-{kind}");
    format!(
        "grant it, with `kubectl -n {namespace} create role {role} --verb={verbs} --resource={kind}{name}` and `kubectl -n \
         {namespace} create rolebinding {role} --role={role} --serviceaccount={account}`"
    )
}

/// What to do about a thing that is not there.
fn missing(Attempt { kind, namespace, name, .. }: &Attempt) -> String {
    match (namespace, name) {
        (Some(namespace), Some(name)) => format!("there is no {name} in namespace {namespace}; check both names"),
        _ if kind.starts_with("virtual") => {
            "KubeVirt is not installed there, or not with kubevirt.io/v1; turn the inventory off, or check the URL"
                .to_owned()
        }
        _ => "check that the URL is that of a Kubernetes API server".to_owned(),
    }
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
