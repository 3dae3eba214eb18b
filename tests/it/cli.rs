//! The binary as its users run it: what it prints, and how it ends.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

const SMALL: &str = include_str!("../data/small.prom");

/// A folder for files, and promdog run in it.
struct Shell(tempfile::TempDir);

/// Exit status, standard output, standard error.
struct Ended(i32, String, String);

impl Shell {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("written");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_promdog")));
        command.args(words).current_dir(self.0.path()).env_clear();
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        let output = self.command(words).output().expect("it runs");
        ended(&output)
    }

    fn run_with_input(&self, words: &[&str], input: &[u8]) -> Ended {
        let mut child = (self.command(words))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdin.take().expect("piped").write_all(input).expect("it reads");
        ended(&child.wait_with_output().expect("it ends"))
    }
}

fn ended(output: &std::process::Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    Ended(output.status.code().expect("not killed"), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_mistake_of_a_mapping_is_told_at_once_with_its_place() {
    let shell = Shell::new();
    shell.file(
        "bad.yaml",
        "version: 1\nmetrics:\n  a: { nmae: d }\n  \"/(/\": e\n  f: { name: g, type: counter }\n  h: { name: g, type: gauge }\n",
    );
    let Ended(status, out, told) = shell.run(&["check", "bad.yaml"]);
    assert_eq!((status, out.as_str()), (1, ""));
    for wanted in [
        "unknown key `nmae`",
        "--> bad.yaml:3:8",
        "did you mean `name`?",
        "`/(/` is no regular expression: unclosed group",
        "two rules lead to `g` with different types",
        "4 problems",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in\n{told}");
    }
    let Ended(status, out, _) = shell.run(&["check", "kubevirt_api", "kubevirt_controller", "kubevirt_handler", "go"]);
    assert_eq!((status, out.lines().count()), (0, 4), "the built-in ones are right");
}

#[test]
fn what_cannot_work_is_told_in_one_message() {
    let shell = Shell::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let url = "http://127.0.0.1:1/metrics";
    for (words, status, wanted) in [
        (
            &["serve", "--target", url, "--web.listen-address", &address][..],
            1,
            "is in use; is another promdog running?",
        ),
        (&["mock", "intake", "--listen", &address], 1, "is in use; choose another address with `--listen`"),
        (&["serve"], 1, "no target: give `--target URL`"),
        (&["serve", "--config.file", "none.yaml"], 1, "cannot read the configuration none.yaml: No such file"),
        (&["serve", "--target", "https://u:secret@h/"], 1, "no user or password in a URL"),
        (&["serve", "--target", "https://h/", "--target.ca-file", "none.pem"], 1, "cannot read CA file none.pem"),
        (&["serve", "--target", url, "--mapping", "none.yaml"], 1, "no mapping `none.yaml`: no such file"),
        (&["translate", "none.txt"], 1, "cannot read none.txt: No such file"),
        (&["translate", url], 1, "cannot connect to http://127.0.0.1:1/metrics: Connection refused"),
        (&["parse", "none.txt"], 2, "cannot read none.txt: No such file"),
        (&["parse", "--format", "xml", "-"], 2, "possible values: prom"),
        (&["health", "--url", "http://127.0.0.1:1/-/ready"], 1, "promdog does not answer at"),
        (&["sevre"], 2, "similar subcommand exists: 'serve'"),
    ] {
        let Ended(found, _, told) = shell.run(words);
        assert_eq!(found, status, "{words:?}: {told}");
        assert!(told.contains(wanted) && !told.contains("secret"), "{words:?}: {told}");
    }
}

#[test]
fn a_document_is_judged_with_every_error() {
    let shell = Shell::new();
    let bad = b"a{b=\"c\" 1\na 1 2 3\nfoo{x=\"y\",x=\"z\"} 1\nok 1\n";
    let Ended(status, out, told) = shell.run_with_input(&["parse", "-", "--format", "prom"], bad);
    assert_eq!((status, out.as_str()), (1, "1 samples, 0 families with metadata, 3 errors\n"));
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "line 1, column 9: expected `,` or `}` after a label",
            "line 2, column 7: text after the timestamp",
            "line 3, column 11: label name appears twice",
        ]
    );
    let good = b"# HELP a_total hi\n# TYPE a_total counter\na_total{k=\"v\"} 1.5 1395066363000\nb +Inf\nc nan";
    let Ended(status, out, _) = shell.run_with_input(&["parse", "-", "--json"], good);
    assert_eq!(status, 0);
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        [
            r#"{"kind":"sample","name":"a_total","labels":[["k","v"]],"value":"1.5","ts":1395066363.0}"#,
            r#"{"kind":"sample","name":"b","labels":[],"value":"+Inf"}"#,
            r#"{"kind":"sample","name":"c","labels":[],"value":"NaN"}"#,
            r#"{"kind":"family","name":"a_total","type":"counter","help":"hi","unit":""}"#,
        ]
    );
}

#[test]
fn translate_shows_rule_and_increase_and_asks_for_a_second_file() {
    let shell = Shell::new();
    shell.file("t0", SMALL);
    shell.file("t15", &SMALL.replace("process_cpu_seconds_total 12.5", "process_cpu_seconds_total 13.75"));
    let Ended(status, one, _) = shell.run(&["translate", "t0"]);
    assert_eq!(status, 0);
    assert!(one.contains("A second one shows increases:\n  promdog translate t0 LATER_FILE"), "{one}");
    assert!(
        one.contains("kubevirt_api.process.cpu_seconds.count  count of second  rule process_cpu_seconds\n"),
        "{one}"
    );
    assert!(one.contains("12.5") && one.contains("baseline  process_cpu_seconds_total"), "{one}");
    let Ended(_, two, _) = shell.run(&["translate", "t0", "t15"]);
    assert!(two.contains("+1.25  process_cpu_seconds_total") && !two.contains("LATER_FILE"), "{two}");

    let words = ["translate", "t0", "t15", "--output", "json", "--tag", "pod_name:p", "--endpoint", "e"];
    let Ended(_, points, _) = shell.run(&words);
    assert!(
        points.contains(
            r#"{"pull":2,"name":"kubevirt_api.process.cpu_seconds.count","type":"count","value":1.25,"interval":15,"tags":["endpoint:e","pod_name:p"],"unit":"second"}"#
        ),
        "{points}"
    );
    assert!(!points.lines().any(|line| line.starts_with(r#"{"pull":1,"#) && line.contains(r#""type":"count""#)));
    let always = [&words[..], &["--first-value", "always", "--interval", "30s"]].concat();
    let Ended(_, points, _) = shell.run(&always);
    assert!(points.contains(r#""type":"count","value":12.5,"interval":30"#), "{points}");
}

#[test]
fn translate_prints_the_exact_body_and_the_page() {
    let shell = Shell::new();
    shell.file("t0", SMALL);
    let Ended(_, body, _) = shell.run(&["translate", "t0", "--output", "payload"]);
    let body: serde_json::Value = serde_json::from_str(&body).expect("one body");
    let series = body["series"].as_array().expect("a list");
    assert!(series.iter().all(|series| series["type"] == 3), "one pull has no increases");
    let Ended(_, page, _) = shell.run(&["translate", "t0", "--output", "metrics"]);
    assert!(page.contains(
        "# TYPE kubevirt_api_process_cpu_seconds_count counter\nkubevirt_api_process_cpu_seconds_count 12.5\n"
    ));
    assert!(page.contains("kubevirt_api_rest_client_request_latency_seconds_bucket{"), "{page}");
}

#[test]
fn the_manuals_of_the_commands_teach() {
    let shell = Shell::new();
    for command in ["serve", "demo", "mock", "check", "health", "translate", "parse"] {
        let Ended(status, help, _) = shell.run(&[command, "--help"]);
        assert_eq!(status, 0);
        assert!(help.contains("Usage: promdog"), "{help}");
    }
}
