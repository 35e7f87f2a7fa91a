//! TLS to a broker: whom we trust, and who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::super::config::{Broker, Endpoint};

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{} has no certificate in it", .0.display())]
    Empty(PathBuf),
    /// A certificate, or the key, is of no use.
    #[error("{what}")]
    Unusable {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The operating system trusts nobody.
    #[error("the operating system has no certificates of authorities; set ca_file")]
    NoAuthorities,
    /// A certificate without its key, or a key without its certificate.
    #[error("certificate_file and key_file must be set together")]
    HalfIdentity,
    /// No certificate can be for such a host.
    #[error("{0:?} is no host name that a certificate can have")]
    HostName(String),
}

/// What connects by the configuration of `broker`; the files are read each time, so that a renewed
/// certificate is used by the next connection.
///
/// # Errors
/// See [`TlsError`].
pub fn connector(broker: &Broker) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |what: &str| {
        let what = what.to_owned();
        move |source| TlsError::Unusable { what, source }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable("the protocol versions"))?
        .with_root_certificates(authorities(broker.ca_file.as_deref())?);
    let config = match (&broker.certificate_file, &broker.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let file = |source| TlsError::File { path: key.clone(), source };
            let key_of_file = PrivateKeyDer::from_pem_file(key).map_err(file)?;
            let chain = certificates(certificate)?;
            let usable = builder.with_client_auth_cert(chain, key_of_file);
            usable.map_err(unusable(&format!("{} with {}", certificate.display(), key.display())))?
        }
        _ => return Err(TlsError::HalfIdentity),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that the certificate must be for.
///
/// # Errors
/// [`TlsError::HostName`].
pub fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(endpoint.host.clone()).map_err(|_| TlsError::HostName(endpoint.host.clone()))
}

/// Whether the broker ended the handshake because of the certificate that it got, or got not, from us.
pub fn is_about_our_certificate(error: &std::io::Error) -> bool {
    let source = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    matches!(
        source,
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        ))
    )
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|source| TlsError::Unusable { what: path.display().to_string(), source })?;
            }
        }
        None => {
            // One that cannot be read is none; others may do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |source| TlsError::File { path: path.to_owned(), source };
    let found = CertificateDer::pem_file_iter(path).map_err(file)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(file)?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}
