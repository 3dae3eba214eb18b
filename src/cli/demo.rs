//! `promdog demo`: the product at work over real protocols, with no account and no cluster.

mod report;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::{self, Running};
use crate::cli::{duration, interrupted, runtime};
use crate::config::env::Env;
use crate::config::flags::Flags;
use crate::config::{Config, File};
use crate::mock::intake::{self, Intake};
use crate::mock::kubernetes::{self, Kubernetes};
use crate::mock::serve::{Setup, Tls};
use crate::mock::virt_api::simulation::Version;
use crate::mock::virt_api::{self, VirtApi};
use crate::telemetry::{self, Format};

const KEY: &str = "demo-key";
const PUSH_SECONDS: u64 = 2;

/// Show promdog at work on this machine: mocks of virt-api (two pods), the Kubernetes API and Datadog's intake, and the
/// proxy between them. Needs no account and no cluster; everything listens on loopback.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End after this time, with a summary; exit 0 if everything has arrived. Default: until it is stopped.
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    run_for: Option<Duration>,
    /// Which KubeVirt the mocks are: 1.2 has rest_client_*, 1.6 kubevirt_rest_client_*.
    #[arg(long = "kubevirt", value_enum, default_value = "1.6", value_name = "VERSION")]
    version: Version,
    /// Where promdog listens; port 0 takes a free one.
    #[arg(long = "web.listen-address", default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// What promdog logs.
    #[arg(long = "log.level", default_value = "warn", value_name = "LEVEL")]
    log_level: String,
}

/// Everything that runs.
struct Demo {
    version: Version,
    pods: Vec<VirtApi>,
    kubernetes: Kubernetes,
    intake: Intake,
    promdog: Running,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { run_for, version, listen, log_level } = args;
    telemetry::start(&log_level, Format::Text)?;
    runtime()?.block_on(async {
        let demo = Demo::start(version, listen).await?;
        demo.announce();
        let enough = Duration::from_secs(3 * PUSH_SECONDS + 1);
        tokio::select! {
            () = interrupted() => return Ok(demo.end().await),
            () = tokio::time::sleep(run_for.unwrap_or(enough).min(enough)) => {}
        }
        if run_for.is_none() {
            println!("{}", report::table(&demo));
        }
        if run_for.is_none_or(|run_for| run_for > enough) {
            let rest = run_for.map(|run_for| run_for - enough);
            demo.watch(rest).await;
        }
        Ok(demo.end().await)
    })
}

impl Demo {
    async fn start(version: Version, listen: SocketAddr) -> anyhow::Result<Self> {
        let mut pods = Vec::new();
        for pod in 0..2_u64 {
            let params = virt_api::Params {
                setup: Setup { tls: Some(Tls::default()), ..Setup::default() },
                version,
                pod_name: format!("virt-api-{pod}"),
                seed: pod + 1,
                // One of the two restarts now and then.
                restart_every: (pod == 1).then_some(Duration::from_secs(9)),
                ..virt_api::Params::default()
            };
            pods.push(VirtApi::start(params).await?);
        }
        let kubernetes = Kubernetes::start(kubernetes::Params::default()).await?;
        let intake = Intake::start(intake::Params { key: KEY.to_owned(), ..intake::Params::default() }).await?;
        let env = [
            ("DD_API_KEY", KEY.to_owned()),
            ("DD_URL", intake.running.url("")),
            ("DD_CLUSTER_NAME", "demo".to_owned()),
        ];
        let env = Env::of(env.map(|(name, value)| (name.to_owned(), value)));
        let text = configuration(&pods, &kubernetes);
        let file = File { name: "demo.yaml", text: &text, folder: Path::new("") };
        let flags = Flags { listen_address: Some(listen.to_string()), ..Flags::default() };
        let config = Config::load(Some(file), &flags, &env)?;
        let promdog = app::start(config).await?;
        Ok(Self { version, pods, kubernetes, intake, promdog })
    }

    fn announce(&self) {
        let base = format!("http://{}", self.promdog.address);
        println!("promdog demo: nothing here leaves this machine\n");
        println!("  the translated view        curl -s {base}/metrics");
        println!("  of one pod                 curl -s {base}/metrics?target=virt-api-0");
        println!("  promdog about itself       curl -s {base}/internal/metrics");
        println!("  what Datadog would get     curl -s {}", self.intake.running.url("/mock/points"));
        println!("  what the intake says       curl -s {}", self.intake.running.url("/mock/summary"));
        for (pod, name) in self.pods.iter().zip(["first", "second"]) {
            println!("  the {name:<6} mock virt-api   curl -sk {}", pod.running.url("/metrics"));
        }
        println!(
            "  the mock Kubernetes API    curl -s {}",
            self.kubernetes.running.url("/apis/kubevirt.io/v1/virtualmachines")
        );
        println!("\npulling two pods and pushing every {PUSH_SECONDS} s; the second pod restarts now and then …\n");
    }

    /// Says now and then what has arrived.
    async fn watch(&self, rest: Option<Duration>) {
        let end = async {
            match rest {
                Some(rest) => tokio::time::sleep(rest).await,
                None => std::future::pending().await,
            }
        };
        let lines = async {
            loop {
                tokio::time::sleep(Duration::from_secs(5 * PUSH_SECONDS)).await;
                println!(
                    "{} points have arrived, {} requests were refused",
                    self.intake.points().len(),
                    self.intake.rejections().len()
                );
            }
        };
        tokio::select! {
            () = interrupted() => {}
            () = end => {}
            () = lines => {}
        }
    }

    /// Stops promdog first, so that what it owes arrives, and sums up.
    async fn end(self) -> ExitCode {
        let table = report::table(&self);
        let Self { pods, intake, promdog, .. } = self;
        promdog.stop().await;
        println!("{table}");
        let (summary, good) = report::summary(&pods, &intake);
        println!("{summary}");
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What `promdog serve --config.file` would be given.
fn configuration(pods: &[VirtApi], kubernetes: &Kubernetes) -> String {
    let mut text = String::from("targets:\n");
    for (at, pod) in pods.iter().enumerate() {
        let url = pod.running.url("/metrics");
        text.push_str(&format!(
            "  - {{ name: virt-api-{at}, url: \"{url}\", kube_namespace: kubevirt, pod_name: virt-api-{at}, tls: {{ insecure_skip_verify: true }} }}\n"
        ));
    }
    let kubernetes = kubernetes.running.url("");
    text.push_str(&format!(
        "push: {{ every: {PUSH_SECONDS}s }}\nweb: {{ max_age: 1s }}\nkubernetes: {{ url: \"{kubernetes}\" }}\n"
    ));
    text
}
