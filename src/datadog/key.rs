//! The API key, as it is at this moment.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::Key;

/// A key that can be sent.
#[derive(Clone, Debug)]
pub(super) struct ReadKey {
    secret: SecretString,
    header: HeaderValue,
}

impl ReadKey {
    /// `None` if the key is empty or cannot stand in a header.
    pub(super) fn new(secret: &SecretString) -> Option<Self> {
        let secret = SecretString::from(secret.expose_secret().trim().to_owned());
        if secret.expose_secret().is_empty() {
            return None;
        }
        let mut header = HeaderValue::from_str(secret.expose_secret()).ok()?;
        header.set_sensitive(true);
        Some(Self { secret, header })
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    #[cfg(feature = "datadog-api")]
    pub(super) fn text(&self) -> String {
        self.secret.expose_secret().to_owned()
    }

    /// `text` without the key, should it be quoted there.
    pub(super) fn masked_in(&self, text: &str) -> String {
        text.replace(self.secret.expose_secret(), "***")
    }
}

impl PartialEq for ReadKey {
    fn eq(&self, other: &Self) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }
}

/// Reads the key now. The error is a text that says what to do.
pub(super) async fn read(key: &Key) -> Result<ReadKey, String> {
    match key {
        Key::Static(secret) => {
            ReadKey::new(secret).ok_or_else(|| "the API key cannot be sent in a header; check DD_API_KEY".to_owned())
        }
        Key::File(path) => {
            let text = tokio::fs::read_to_string(path)
                .await
                .map_err(|error| format!("cannot read the API key file {}: {error}", path.display()))?;
            ReadKey::new(&SecretString::from(text))
                .ok_or_else(|| format!("the API key file {} is empty or holds more than a key", path.display()))
        }
    }
}
