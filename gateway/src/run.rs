//! A gateway from open to stop: the same for `dev` and `serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gw_events::RunningEvents;
use gw_s3::{AccessLines, Inventories, NewBuckets, RunningS3, S3Config, S3Server, ServerTls};
use gw_store::KeyLimits;
use gw_types::{Authenticated, Frontend};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::access_log::{AccessLog, AccessLogSection};
use crate::admin::routes::{DevControl, Gateway};
use crate::admin::server::AdminServer;
use crate::certificate::Certificate;
use crate::config::{NbdSection, TlsSection};
use crate::core::Core;
use crate::datadir::{DataDir, read_secret, write_secret};
use crate::error::{Context, Error, Result};
use crate::mounts::Mounts;
use crate::mounts::options::MountSpec;
use crate::nbd::Nbd;
use crate::notify::Target;

/// Between two passes over the buckets' lifecycle rules, whose days end at midnight UTC.
const LIFECYCLE_EVERY: std::time::Duration = std::time::Duration::from_secs(3600);

/// Between two looks for inventories that are due; their days begin at midnight UTC.
const INVENTORY_EVERY: std::time::Duration = std::time::Duration::from_secs(3600);

/// Where it listens.
#[derive(Clone, Debug)]
pub struct Listen {
    pub s3: SocketAddr,
    /// `None`: the admin API only on its socket.
    pub admin: Option<SocketAddr>,
    pub regions: Vec<String>,
    pub base_domains: Vec<String>,
    pub website_domains: Vec<String>,
    /// How open a bucket is made.
    pub new_buckets: NewBuckets,
    /// Whether queries and forms may be signed with Signature Version 2.
    pub sigv2_presigned: bool,
    /// Where a line for each request goes.
    pub access_log: AccessLogSection,
    /// How fast each access key may be used.
    pub key_limits: KeyLimits,
    /// Volumes over NBD; without places, none.
    pub nbd: NbdSection,
    /// Files of certificate and key; `None`: plain HTTP.
    pub tls: Option<TlsSection>,
    /// Where events go.
    pub notify: Vec<Target>,
    /// Where an address is taken: a free port instead of an error.
    pub fall_back: bool,
    /// Mounted before anybody is told that the gateway serves.
    pub mounts: Vec<MountSpec>,
    /// Whose rights a mount has that names nobody.
    pub mount_user: Option<String>,
}

/// Everything that serves.
pub struct Serving {
    core: Arc<Core>,
    s3: RunningS3,
    nbd: Option<Nbd>,
    admin: AdminServer,
    lifecycle: JoinHandle<()>,
    care: JoinHandle<()>,
    access_log: Option<AccessLog>,
    inventories: JoinHandle<()>,
    events: Arc<RunningEvents>,
    mounts: Arc<Mounts>,
    certificate: Option<Certificate>,
}

impl Serving {
    /// Binds the frontends on an open core.
    pub async fn start(
        dir: &DataDir,
        core: Core,
        listen: &Listen,
        simulated: Vec<String>,
        dev: Option<Arc<dyn DevControl>>,
    ) -> Result<Self> {
        let core = Arc::new(core);
        let certificate = listen.tls.clone().map(Certificate::load).transpose()?;
        let access_log = AccessLog::start(&listen.access_log)?;
        let beside =
            (certificate.as_ref().map(Certificate::tls), access_log.as_ref().map(|log| log.lines.clone()));
        let s3 = bind_s3(&core, listen, beside).await?;
        let mounts = Arc::new(Mounts::new(core.store.clone(), listen.mount_user.clone()));
        let nbd = Nbd::start(&listen.nbd, core.store.clone()).await?;
        let region = listen.regions.first().map_or("", String::as_str);
        let deliveries = listen.notify.iter().map(|target| target.delivery.clone()).collect();
        let events = RunningEvents::start(&core.store, region, deliveries)
            .context(|| "starting to deliver events".to_owned())?;
        let events = Arc::new(events);
        let inventories = Arc::new(Inventories::new(Arc::new(core.store.clone())));
        let gateway = Gateway {
            core: Arc::clone(&core),
            inventories: Arc::clone(&inventories),
            access_lost: access_log.as_ref().map(|log| log.lines.lost()),
            s3: s3.metrics(),
            events: Arc::clone(&events),
            simulated,
            dev,
            mounts: Arc::clone(&mounts),
        };
        let tcp = match listen.admin {
            Some(addr) => Some(bind(addr, listen.fall_back).await?),
            None => None,
        };
        let token = admin_token(&dir.join("admin.token"))?;
        let admin = AdminServer::start(Arc::new(gateway), &dir.join("admin.sock"), tcp, token).await?;
        let store = core.store.clone();
        let lifecycle = tokio::spawn(async move {
            store.lifecycle_keep(&Authenticated::user("lifecycle", Frontend::Admin), LIFECYCLE_EVERY).await;
        });
        let inventories = tokio::spawn(async move { inventories.keep(INVENTORY_EVERY).await });
        let (store, territory) = (core.store.clone(), Arc::clone(&core.care));
        let care = tokio::spawn(async move { territory.keep(&store).await });
        let serving = Self {
            core,
            s3,
            nbd,
            admin,
            lifecycle,
            care,
            access_log,
            inventories,
            events,
            mounts,
            certificate,
        };
        for spec in &listen.mounts {
            if let Err(error) = serving.mounts.add(spec.clone()).await {
                serving.stop().await?;
                return Err(error);
            }
        }
        Ok(serving)
    }

    /// `http://host:port` of S3, or `https://`.
    pub fn s3_url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.s3.local_addr())
    }
    /// The S3 port.
    #[cfg(feature = "dev-chain")]
    pub fn s3_addr(&self) -> SocketAddr {
        self.s3.local_addr()
    }
    /// Where NBD is served.
    pub fn nbd_uris(&self) -> Vec<String> {
        self.nbd.as_ref().map(Nbd::uris).unwrap_or_default()
    }
    /// The admin TCP address, where there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.addr()
    }

    /// Where it is mounted.
    pub fn mounts(&self) -> Vec<PathBuf> {
        self.mounts.paths()
    }

    /// Unmounts, drains requests, then syncs and closes. Nothing acknowledged is lost either way.
    pub async fn stop(self) -> Result<()> {
        self.mounts.stop().await;
        if let Some(nbd) = self.nbd {
            nbd.stop().await;
        }
        self.s3.shutdown().await;
        if let Some(log) = self.access_log {
            log.stop().await;
        }
        // A pass that is broken off is begun again at the next start.
        self.lifecycle.abort();
        // So is a renewal whose fate is not known: the next start looks first.
        self.care.abort();
        // A list that is broken off is taken up again.
        self.inventories.abort();
        // What is being told is told again at the next start.
        self.events.halt();
        self.admin.stop();
        drop(self.admin);
        drop(self.mounts);
        let mut core = self.core;
        // An admin request under way holds the core for a moment more.
        for _ in 0..100 {
            match Arc::try_unwrap(core) {
                Ok(core) => return core.close().await,
                Err(shared) => core = shared,
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        core.dispersal.stop().await;
        core.store.close().await.context(|| "closing the store".to_owned())
    }
}

async fn bind_s3(
    core: &Core,
    listen: &Listen,
    (tls, access_lines): (Option<ServerTls>, Option<AccessLines>),
) -> Result<RunningS3> {
    let config = |listen_on| S3Config {
        listen: listen_on,
        regions: listen.regions.clone(),
        base_domains: listen.base_domains.clone(),
        website_domains: listen.website_domains.clone(),
        new_buckets: listen.new_buckets,
        sigv2_presigned: listen.sigv2_presigned,
        event_arns: listen.notify.iter().map(Target::arn).collect(),
        tls: tls.clone(),
        key_limits: listen.key_limits,
        access_lines: access_lines.clone(),
        ..S3Config::default()
    };
    let doing = || format!("serving S3 on {}", listen.s3);
    match S3Server::bind(config(listen.s3), core.store.clone()).await {
        Err(error) if listen.fall_back && error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(addr = %listen.s3, "the S3 port is taken; a free one is used");
            let free = SocketAddr::new(listen.s3.ip(), 0);
            S3Server::bind(config(free), core.store.clone()).await.context(doing)
        }
        outcome => outcome.context(doing),
    }
}

async fn bind(addr: SocketAddr, fall_back: bool) -> Result<TcpListener> {
    match TcpListener::bind(addr).await {
        Err(error) if fall_back && error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(%addr, "the admin port is taken; a free one is used");
            TcpListener::bind(SocketAddr::new(addr.ip(), 0))
                .await
                .context(|| "serving the admin API".to_owned())
        }
        outcome => outcome.context(|| format!("serving the admin API on {addr}")),
    }
}

fn admin_token(path: &Path) -> Result<Arc<str>> {
    if let Some(kept) = read_secret(path)? {
        let text = String::from_utf8(kept).context(|| format!("reading {}", path.display()))?;
        return Ok(text.trim().into());
    }
    let text = random_text(32)?;
    write_secret(path, format!("{}\n", text.as_str()).as_bytes())?;
    Ok(text.as_str().into())
}

/// Letters and digits from `bytes` random bytes.
pub fn random_text(bytes: usize) -> Result<Zeroizing<String>> {
    let mut raw = Zeroizing::new(vec![0; bytes]);
    getrandom::fill(&mut raw).map_err(|error| Error::new(format!("no randomness: {error}")))?;
    Ok(Zeroizing::new(hex::encode(raw.as_slice())))
}

/// Returns at SIGTERM or SIGINT.
pub async fn told_to_stop() -> Result<()> {
    let doing = || "waiting for signals".to_owned();
    let mut term = signal(SignalKind::terminate()).context(doing)?;
    let mut int = signal(SignalKind::interrupt()).context(doing)?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
