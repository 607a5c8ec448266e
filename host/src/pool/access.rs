//! How a pool or a manager reaches a message system.

use std::path::PathBuf;

use wasmpool_core::text::ForeignText;
use wasmpool_nats::access::{BrokerAccess, IdentityFile};
use wasmpool_nats::url::BrokerUrl;
use wasmpool_run::error::Error;

/// The files by which a message system is reached.
#[derive(Clone, Debug, Default)]
pub struct AccessFiles {
    pub authorities: Option<PathBuf>,
    pub login: Option<IdentityFile>,
}

impl AccessFiles {
    /// Returns the way to the message system at this URL.
    pub fn to(self, url: &str) -> Result<BrokerAccess, Error> {
        let said = ForeignText::of(url).to_string();
        let url = BrokerUrl::parse(url).map_err(|e| Error::Broker(format!("{said}: {e}")))?;
        Ok(BrokerAccess::new(url, self.authorities.as_deref(), self.login)?)
    }
}
