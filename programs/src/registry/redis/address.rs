//! Which servers to connect to, with which credentials and protocol.

use std::{fmt, time::Duration};

use redis::{
    Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult, TlsCertificates,
    cluster::ClusterClient,
};

use super::config::{self, RedisConfig};

/// Attempts of the cluster client at one command: a slot that moved, a node that went away.
const CLUSTER_RETRIES: u32 = 3;

#[derive(Clone)]
pub(super) struct Address {
    nodes: Vec<(String, u16)>,
    cluster: bool,
    database: i64,
    username: Option<String>,
    password: Option<String>,
    tls: bool,
    certificates: Option<TlsCertificates>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// Without the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("nodes", &self.nodes)
            .field("cluster", &self.cluster)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// `config` has been checked.
    pub(super) fn new(config: &RedisConfig, certificates: Option<TlsCertificates>) -> Self {
        Self {
            nodes: config.urls.iter().filter_map(|url| config::host_and_port(url)).collect(),
            cluster: config.cluster,
            database: config.database.into(),
            username: config.username.clone(),
            password: config.password.clone(),
            tls: config.is_tls(),
            certificates,
            connect_timeout: config.connect_timeout(),
            response_timeout: config.response_timeout(),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// The seed nodes; one unless it is a cluster.
    pub(super) fn nodes(&self) -> &[(String, u16)] {
        &self.nodes
    }

    /// For one server.
    pub(super) fn client(
        &self,
        (host, port): &(String, u16),
        protocol: ProtocolVersion,
    ) -> RedisResult<Client> {
        let info = self.info(host, *port, protocol)?;
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    /// For all servers of the cluster.
    pub(super) fn cluster_client(&self) -> RedisResult<ClusterClient> {
        let nodes = self.nodes.iter().map(|(host, port)| self.info(host, *port, ProtocolVersion::RESP2));
        let mut builder = ClusterClient::builder(nodes.collect::<RedisResult<Vec<_>>>()?)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.response_timeout)
            .overall_response_timeout(Some(self.response_timeout))
            .retries(CLUSTER_RETRIES);
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        builder.build()
    }

    fn info(&self, host: &str, port: u16, protocol: ProtocolVersion) -> RedisResult<ConnectionInfo> {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let url = match host.contains(':') {
            true => format!("{scheme}://[{host}]:{port}"),
            false => format!("{scheme}://{host}:{port}"),
        };
        let info = url.into_connection_info()?;
        let settings = info.redis_settings().clone().set_protocol(protocol).set_db(self.database);
        // Our ACL users then need no right to it; older servers lack the command.
        let mut settings = settings.set_skip_set_lib_name();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(info.set_redis_settings(settings))
    }
}
