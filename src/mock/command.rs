//! `promdog mock …`: one mock alone, until it is stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;

use crate::mock::fault::Fault;
use crate::mock::intake::{self, Intake};
use crate::mock::kubernetes::{self, Kubernetes};
use crate::mock::serve::{Running, Setup, Tls, Validity};
use crate::mock::virt_api::simulation::Version;
use crate::mock::virt_api::{self, VirtApi};

#[derive(Debug, clap::Subcommand)]
pub enum Mock {
    /// A KubeVirt virt-api with /metrics and /healthz, moving as a busy cluster would.
    VirtApi(VirtApiArgs),
    /// A Kubernetes API with VirtualMachines, VirtualMachineInstances and virt-api's pods, to list and to watch;
    /// GET /mock/summary shows what was asked of it.
    Kubernetes(KubernetesArgs),
    /// A Datadog intake that judges what it gets; GET /mock/points and /mock/summary show it.
    Intake(IntakeArgs),
}

/// What all mocks have.
#[derive(Debug, clap::Args)]
struct Common {
    /// Speak https, with a certificate made as the mock starts.
    #[arg(long)]
    tls: bool,
    /// Names and addresses the certificate is for.
    #[arg(long, value_delimiter = ',', value_name = "NAME", requires = "tls")]
    tls_names: Vec<String>,
    /// Let the certificate be one that has expired.
    #[arg(long, requires = "tls")]
    tls_expired: bool,
    /// Write the CA that signed the certificate to this file, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    write_ca: Option<PathBuf>,
    /// Go wrong: status=CODE, delay=TIME, late=TIME, cut, garbage, redirect, html, endless, gzip-bomb, invalid-utf8 or truncated;
    /// `*3` limits it to three times, `@/healthz` to a path. May be repeated; PUT /mock/faults changes it while running.
    #[arg(long = "fault", value_name = "FAULT[*TIMES][@/PATH]")]
    faults: Vec<Fault>,
}

impl Common {
    fn setup(&self, listen: SocketAddr) -> Setup {
        let mut tls = Tls::default();
        if !self.tls_names.is_empty() {
            tls.names.clone_from(&self.tls_names);
        }
        if self.tls_expired {
            tls.validity = Validity::Expired;
        }
        Setup { listen, tls: self.tls.then_some(tls), faults: self.faults.clone() }
    }
}

#[derive(Debug, clap::Args)]
pub struct VirtApiArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Which KubeVirt: 1.2 has rest_client_*, 1.6 kubevirt_rest_client_*.
    #[arg(long = "kubevirt", value_enum, default_value = "1.6", value_name = "VERSION")]
    version: Version,
    /// The pod's name, shown at the start.
    #[arg(long, default_value = "virt-api-mock-0", value_name = "NAME")]
    pod_name: String,
    /// Restart the process this often: every total starts again from 0.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    restart_every: Option<Duration>,
    /// Seconds that pass in the cluster for each second.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    speed: f64,
    /// The same seed makes the same cluster.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Answer 401 to requests without this bearer token.
    #[arg(long, value_name = "TOKEN")]
    bearer: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub struct KubernetesArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// How many VirtualMachines.
    #[arg(long, default_value_t = 12, value_name = "NUMBER")]
    vms: usize,
    /// How many VirtualMachineInstances.
    #[arg(long, default_value_t = 8, value_name = "NUMBER")]
    vmis: usize,
    /// How many virt-api pods, in namespace `kubevirt`.
    #[arg(long, default_value_t = 2, value_name = "NUMBER")]
    pods: usize,
    /// Let machines be as large as real ones: about 4 kB each.
    #[arg(long)]
    realistic: bool,
    /// Serve the objects of this JSON file, a list or a single one, instead of making up any of their kind. May be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    objects: Vec<PathBuf>,
    /// Serve this PEM file as `ca-bundle` of the ConfigMap `kubevirt-ca`.
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// Allow only what the PolicyRules of this JSON file allow: an array; a rule may have a `namespace` too.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Changes per second: machines come, go, move and fail. POST /mock/churn changes it while running.
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER")]
    churn: f64,
    /// Every few hundred changes forget the history, cut watches, expire continue tokens or break an object.
    #[arg(long)]
    churn_trouble: bool,
    /// Changes kept for watches; one from an older version is told to begin again.
    #[arg(long, default_value_t = 10_000, value_name = "NUMBER")]
    history: usize,
    /// Time between two bookmarks of a watch.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    bookmark_every: Duration,
    /// Refuse a watch from a version that is too old with HTTP 410 instead of an event.
    #[arg(long)]
    gone_by_status: bool,
    /// The same seed makes the same cluster, and the same changes.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Answer 401 to requests without this bearer token. PUT /mock/token changes it while running.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl KubernetesArgs {
    fn params(self) -> anyhow::Result<(kubernetes::Params, Common)> {
        let Self {
            listen,
            vms,
            vmis,
            pods,
            realistic,
            objects,
            ca_bundle,
            rules,
            churn,
            churn_trouble,
            history,
            bookmark_every,
            gone_by_status,
            seed,
            token,
            common,
        } = self;
        let params = kubernetes::Params {
            setup: common.setup(listen),
            vms,
            vmis,
            pods,
            ca_bundle: ca_bundle.as_deref().map(read).transpose()?,
            objects: objects.iter().map(|file| read_json(file)).collect::<Result<_, _>>()?,
            realistic,
            token,
            rules: rules.as_deref().map(read_json).transpose()?,
            history,
            bookmark_every,
            gone_by_status,
            churn,
            churn_trouble,
            seed,
        };
        Ok((params, common))
    }
}

#[derive(Debug, clap::Args)]
pub struct IntakeArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:10046", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The API key that opens it.
    #[arg(long, default_value = "mock", value_name = "KEY")]
    key: String,
    /// Append every point taken to this file, as a line of JSON.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Runs a mock until `stop` is ready.
///
/// # Errors
/// An address that cannot be had, a file that cannot be written.
pub async fn run(mock: Mock, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    match mock {
        Mock::VirtApi(VirtApiArgs { listen, version, pod_name, restart_every, speed, seed, bearer, common }) => {
            let setup = common.setup(listen);
            let what = format!("mock virt-api ({pod_name})");
            let params = virt_api::Params { setup, version, pod_name, seed, restart_every, speed, bearer };
            let mock = VirtApi::start(params).await?;
            announce(&what, &mock.running, "/metrics", common.write_ca.as_deref())?;
            stop.await;
        }
        Mock::Kubernetes(args) => {
            let (params, common) = args.params()?;
            let mock = Kubernetes::start(params).await?;
            announce("mock kubernetes", &mock.running, "", common.write_ca.as_deref())?;
            stop.await;
        }
        Mock::Intake(IntakeArgs { listen, key, record, common }) => {
            let setup = common.setup(listen);
            let mock = Intake::start(intake::Params { setup, key, record }).await?;
            announce("mock intake", &mock.running, "", common.write_ca.as_deref())?;
            stop.await;
        }
    }
    Ok(())
}

fn announce(what: &str, running: &Running, path: &str, ca: Option<&Path>) -> anyhow::Result<()> {
    if let (Some(file), Some(pem)) = (ca, &running.ca_pem) {
        std::fs::write(file, pem).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{what}: {}", running.url(path));
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn read_json<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    serde_json::from_str(&read(file)?).with_context(|| format!("{} is not the JSON it should be", file.display()))
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::yaml::node::duration(text).ok_or_else(|| "a time such as `15s` or `5m`".to_owned())
}
