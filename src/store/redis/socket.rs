//! The socket: TCP, with TLS where the URL says so.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use redis::{
    ConnectionAddr, ConnectionInfo,
    io::tcp::{TcpSettings, socket2::SockRef},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto, pki_types::ServerName},
};

use crate::store::{Error, Result};

/// Where a socket leads, and how.
pub(super) struct Route {
    host: String,
    port: u16,
    tcp: TcpSettings,
    tls: Option<Tls>,
}

struct Tls {
    name: ServerName<'static>,
    connector: TlsConnector,
}

/// A connected socket.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Route {
    /// The route that a URL describes. For TLS the system's certificates are read, once.
    pub(super) fn of(info: &ConnectionInfo) -> Result<Self> {
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, port, None),
            ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
                (host, port, Some(Tls::to(host)?))
            }
            _ => {
                return Err(Error::Broken(
                    "the Redis URL is not usable; write redis://HOST:PORT/DB or \
                     rediss://HOST:PORT/DB"
                        .to_owned(),
                ));
            }
        };
        Ok(Self { host: host.clone(), port: *port, tcp: info.tcp_settings().clone(), tls })
    }

    pub(super) async fn connect(&self) -> io::Result<Socket> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(self.tcp.nodelay())?;
        let socket = SockRef::from(&stream);
        if let Some(keepalive) = self.tcp.keepalive() {
            socket.set_tcp_keepalive(keepalive)?;
        }
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(self.tcp.user_timeout())?;
        match &self.tls {
            None => Ok(Socket::Plain(stream)),
            Some(Tls { name, connector }) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Socket::Tls(Box::new(stream)))
            }
        }
    }
}

impl Tls {
    fn to(host: &str) -> Result<Self> {
        let wrong = |what: String| Error::Broken(format!("TLS to Redis: {what}"));
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| wrong(format!("{host} is no name that a certificate can have")))?;
        let mut roots = RootCertStore::empty();
        // One that cannot be read leaves the others; none at all shows as an unknown authority.
        let (_, _) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { name, connector: TlsConnector::from(Arc::new(config)) })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
