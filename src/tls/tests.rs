use super::*;

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

fn write(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn the_provider_may_be_installed_twice() {
    install_provider();
    install_provider();
    assert!(CryptoProvider::get_default().is_some());
}

#[test]
fn a_missing_ca_file_is_named() {
    let params = ClientParams { ca_file: Some("/nowhere/ca.pem".into()), ..ClientParams::default() };
    let error = client_config(&params).unwrap_err().to_string();
    assert!(error.starts_with("cannot read CA file /nowhere/ca.pem: "), "{error}");
}

#[test]
fn a_ca_file_without_a_certificate_says_what_it_should_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, "ca.pem", "hello\n");
    let params = ClientParams { ca_file: Some(path), ..ClientParams::default() };
    let error = client_config(&params).unwrap_err().to_string();
    assert!(error.contains("no certificate in CA file") && error.contains("BEGIN CERTIFICATE"), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ca();
    let own = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["us".to_owned()]).unwrap().signed_by(&own, &ca).unwrap();
    let mut params = ClientParams {
        ca_file: Some(write(&dir, "ca.pem", &ca.pem())),
        cert_file: Some(write(&dir, "cert.pem", &cert.pem())),
        key_file: Some(write(&dir, "key.pem", &KeyPair::generate().unwrap().serialize_pem())),
        ..ClientParams::default()
    };
    assert!(matches!(client_config(&params), Err(Error::KeyMismatch { .. })));
    params.key_file = Some(write(&dir, "key.pem", &own.serialize_pem()));
    assert!(client_config(&params).is_ok());
    params.key_file = Some(write(&dir, "key.pem", "nothing"));
    assert!(matches!(client_config(&params), Err(Error::NoKey { .. })));
    params.key_file = None;
    assert!(matches!(client_config(&params), Err(Error::HalfIdentity { missing: "key file" })));
}

#[test]
fn a_server_name_with_a_scheme_is_refused() {
    let params = ClientParams {
        server_name: Some("https://a.b".to_owned()),
        insecure_skip_verify: true,
        ..ClientParams::default()
    };
    assert!(matches!(client_config(&params), Err(Error::BadServerName(_))));
}

#[test]
fn a_refused_certificate_is_found_inside_io_errors() {
    let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
    let problem = certificate_advice(&error).unwrap();
    assert_eq!(problem.label(), "unknown_issuer");
    assert!(problem.to_string().contains("--target.ca-file FILE"), "{problem}");
    assert_eq!(certificate_advice(&io::Error::other("nothing")), None);
}

#[test]
fn a_wrong_name_advises_the_name_the_certificate_presents() {
    let problem = describe(&CertificateError::NotValidForNameContext {
        expected: ServerName::try_from("10.0.0.1").unwrap(),
        presented: vec!["DnsName(\"virt-api\")".to_owned(), "DnsName(\"virt-api.kubevirt.svc\")".to_owned()],
    });
    assert_eq!(
        problem.to_string(),
        "the server's certificate is not valid for `10.0.0.1`, but for `virt-api`, `virt-api.kubevirt.svc`; \
         if that is the right server, add `--target.server-name virt-api`"
    );
}
