//! `cess-gateway serve`: the gateway against a chain endpoint and real miners.

use std::sync::Arc;
use std::time::Duration;

use gw_chain::{ChainConfig, Signer, SubxtChain};
use gw_clock::SystemClock;
use gw_db::catalog::Engine;
use gw_dispersal::DispersalConfig;
use gw_miner_client::{HttpMiners, HttpMinersConfig, ReadKey};
use gw_tee::{RootKey, RootKeys};
use gw_types::TerritoryName;
use gw_types::ports::{Clock, Keys, Miners};
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::cli::ServeArgs;
use crate::config::{Config, MountSection};
use crate::core::{Core, CoreConfig, CorePorts};
use crate::datadir::{DataDir, read_secret};
use crate::error::{Context, Error, Result, fail};
use crate::notify;
use crate::ready::{Ready, ReadyFile};
use crate::run::{Listen, Serving, told_to_stop};

/// Runs until told to stop.
#[allow(clippy::print_stdout, reason = "this is what the command prints")]
pub async fn serve(args: &ServeArgs) -> Result<()> {
    let config = Config::read(&args.config)?;
    let targets = notify::targets(&config.notify)?;
    if args.check {
        config.mount.iter().try_for_each(|mount| mount.spec().map(|_| ()))?;
        config.s3.tls.clone().map(Certificate::load).transpose()?;
        println!("{} is in order", args.config.display());
        return Ok(());
    }
    let dir = DataDir::own(&config.data_dir)?;
    let ready_file = args.ready_file.as_deref().map(ReadyFile::claim).transpose()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let keys: Arc<dyn Keys> = Arc::new(RootKeys::new(root_key(&config)?, Arc::clone(&clock)));
    let signer = signer(&config)?;
    let chain_config = ChainConfig { allow_insecure: config.chain.allow_insecure, ..ChainConfig::default() };
    let chain = SubxtChain::connect_with(&config.chain.url, signer, chain_config)
        .await
        .context(|| format!("connecting to the chain at {}", config.chain.url))?;
    let miners: Arc<dyn Miners> =
        Arc::new(HttpMiners::new(HttpMinersConfig::default(), ReadKey::generate(), Arc::clone(&clock)));
    let territory = TerritoryName::new(config.territory.name.clone())
        .ok_or_else(|| Error::new("territory.name has 1 to 63 bytes"))?;
    let mut dispersal = DispersalConfig::new(territory);
    dispersal.seal_age = Duration::from_millis(config.dispersal.seal_age_ms);
    dispersal.linger = Duration::from_millis(config.dispersal.linger_ms);
    dispersal.territory_reserve_bytes = config.territory.reserve_bytes;
    dispersal.compact_room_bytes = config.compaction.room_bytes;
    dispersal.compact_dead_percent = config.compaction.dead_percent;
    let core_config = CoreConfig {
        folder: dir.join("store"),
        engine: config.store.catalog.as_deref().and_then(Engine::from_name),
        staging_bytes_max: config.store.staging_bytes_max,
        cache_bytes_max: config.store.cache_bytes_max,
        disk_cache_bytes_max: config.store.disk_cache_bytes_max,
        dispersal,
        renewal: config.territory.renewal(),
        accept_incomplete_restore: args.accept_incomplete_restore,
        event_targets: targets.iter().map(|target| target.queue.clone()).collect(),
    };
    let simulated = if keys.evidence().simulated { vec!["root key".to_owned()] } else { Vec::new() };
    let core = Core::open(CorePorts { chain: Arc::new(chain), miners, keys, clock }, core_config).await?;
    let config_region = config.s3.regions.first().cloned();
    let listen = Listen {
        s3: config.s3.listen,
        admin: config.admin.listen,
        regions: config.s3.regions,
        base_domains: config.s3.base_domains,
        website_domains: config.s3.website_domains,
        new_buckets: config.s3.new_buckets.into(),
        sigv2_presigned: config.s3.sigv2 == crate::config::SigV2::Presigned,
        key_limits: gw_store::KeyLimits {
            requests_per_second: config.s3.key_requests_per_second,
            bytes_per_second: config.s3.key_bytes_per_second,
        },
        tls: config.s3.tls,
        access_log: config.access_log,
        nbd: config.nbd,
        fall_back: false,
        notify: targets,
        mounts: config.mount.iter().map(MountSection::spec).collect::<Result<_>>()?,
        mount_user: None,
    };
    let serving = Serving::start(&dir, core, &listen, simulated, None).await?;
    if let Some(file) = &ready_file {
        file.announce(&Ready {
            s3: Some(serving.s3_url()),
            admin: serving.admin_addr().map(|addr| format!("http://{addr}")),
            nbd: serving.nbd_uris(),
            chain: config.chain.url,
            region: config_region,
            credentials: None,
            mount: serving.mounts(),
            pid: std::process::id(),
        })?;
    }
    tracing::info!(s3 = %serving.s3_url(), "serving");
    told_to_stop().await?;
    tracing::info!("stopping");
    drop(ready_file);
    serving.stop().await
}

fn root_key(config: &Config) -> Result<RootKey> {
    let path = &config.key.file;
    if !path.exists() {
        return fail(format!(
            "there is no root key at {0}: make one with `cess-gateway key init --file {0}`",
            path.display()
        ));
    }
    let passphrase =
        std::env::var("CESS_GATEWAY_PASSPHRASE").ok().filter(|text| !text.is_empty()).map(Zeroizing::new);
    RootKey::load(path, passphrase.as_deref().map(String::as_str))
        .context(|| format!("the root key {}", path.display()))
}

fn signer(config: &Config) -> Result<Signer> {
    let text = match &config.chain.account_file {
        Some(path) => {
            let bytes =
                read_secret(path)?.ok_or_else(|| Error::new(format!("there is no {}", path.display())))?;
            Zeroizing::new(String::from_utf8(bytes).context(|| format!("reading {}", path.display()))?)
        }
        None => Zeroizing::new(std::env::var("CESS_GATEWAY_MNEMONIC").map_err(|_| {
            Error::new("name chain.account_file, or set CESS_GATEWAY_MNEMONIC to the account's mnemonic")
        })?),
    };
    let text = text.trim();
    Signer::from_mnemonic(text)
        .or_else(|_| Signer::from_uri(text))
        .context(|| "reading the account".to_owned())
}
