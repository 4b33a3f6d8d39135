//! `cess-gateway dev`: the whole stack in one process, with a development network behind it.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gw_db::catalog::Engine;
use gw_dispersal::DispersalConfig;
use gw_miner_client::{HttpMiners, HttpMinersConfig, ReadKey};
use gw_tee::{RootKey, RootKeys};
use gw_types::TerritoryName;
use gw_types::ports::{Clock, Keys, Miners};
use zeroize::Zeroizing;

use crate::admin::routes::DevControl;
use crate::cli::{DevArgs, DevMinerAct, Reach};
use crate::clock::SystemClock;
use crate::core::{Core, CoreConfig, CorePorts};
use crate::datadir::DataDir;
use crate::devnet::{DevNet, TERRITORY};
use crate::error::{Context, Error, Result};
use crate::ready::{Ready, ReadyFile};
use crate::run::{Listen, Serving, first_user, random_text, told_to_stop};

/// Runs until told to stop.
pub async fn dev(reach: &Reach, args: &DevArgs) -> Result<()> {
    let begun = Instant::now();
    let dir = Arc::new(DataDir::own(&reach.data_dir)?);
    let ready_path = args.ready_file.clone().unwrap_or_else(|| dir.join("ready.json"));
    let ready_file = ReadyFile::claim(&ready_path)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let key_path = dir.join("root.key");
    let new_key = !key_path.exists();
    let keys: Arc<dyn Keys> = Arc::new(RootKeys::new(root_key(&key_path)?, Arc::clone(&clock)));
    let net = Arc::new(DevNet::start(Arc::clone(&dir), args, Arc::clone(&clock)).await?);

    let miners: Arc<dyn Miners> =
        Arc::new(HttpMiners::new(HttpMinersConfig::default(), ReadKey::generate(), Arc::clone(&clock)));
    let mut dispersal =
        DispersalConfig::new(TerritoryName::new(TERRITORY).expect("the name has 1 to 63 bytes"));
    dispersal.seal_age = Duration::from_millis(args.seal_age_ms);
    dispersal.poll = Duration::from_secs(2);
    let config = CoreConfig {
        folder: dir.join("store"),
        engine: args.catalog.as_deref().and_then(Engine::from_name),
        staging_bytes_max: args.staging_bytes_max,
        cache_bytes_max: None,
        disk_cache_bytes_max: None,
        dispersal,
        restore: true,
    };
    let core = Core::open(CorePorts { chain: net.chain(), miners, keys, clock }, config).await?;
    let (access_key, secret_key) = credentials(&net, args).await?;
    first_user(&core, &access_key, &secret_key).await?;

    let listen = listen(&net, args).await;
    let simulated = ["chain", "miners", "root key"].map(str::to_owned).to_vec();
    let control: Arc<dyn DevControl> = Arc::new(Control(Arc::clone(&net)));
    let serving = Serving::start(&dir, core, &listen, simulated, Some(control)).await?;
    let (s3_port, admin_port) =
        (serving.s3_addr().port(), serving.admin_addr().map_or(0, |addr| addr.port()));
    net.remember(|identity| {
        identity.s3_port = s3_port;
        identity.admin_port = admin_port;
    })
    .await?;
    let ready = Ready {
        s3: serving.s3_url(),
        admin: serving.admin_addr().map(|addr| format!("http://{addr}")).unwrap_or_default(),
        chain: net.chain_url(),
        region: listen.regions[0].clone(),
        access_key,
        secret_key: secret_key.to_string(),
        pid: std::process::id(),
    };
    ready_file.announce(&ready)?;
    show(&ready, reach, begun, new_key.then_some(key_path.as_path()));

    told_to_stop().await?;
    tracing::info!("stopping");
    drop(ready_file);
    serving.stop().await?;
    match Arc::try_unwrap(net) {
        Ok(net) => net.stop().await,
        Err(_) => tracing::warn!("the development network is still in use; it ends with the process"),
    }
    Ok(())
}

fn root_key(path: &Path) -> Result<RootKey> {
    let doing = || format!("the root key {}", path.display());
    if path.exists() {
        return RootKey::load(path, None).context(doing);
    }
    let key = RootKey::generate().context(doing)?;
    key.write_new(path, None).context(doing)?;
    Ok(key)
}

async fn credentials(net: &DevNet, args: &DevArgs) -> Result<(String, Zeroizing<String>)> {
    if let (Some(access), Some(secret)) = (&args.access_key, &args.secret_key) {
        return Ok((access.clone(), Zeroizing::new(secret.clone())));
    }
    let kept = net.identity().await;
    if !kept.access_key.is_empty() {
        return Ok((kept.access_key, kept.secret_key));
    }
    let access = format!("CESS{}", random_text(8)?.to_uppercase());
    let secret = random_text(20)?;
    let (keep_access, keep_secret) = (access.clone(), secret.clone());
    net.remember(move |identity| {
        identity.access_key = keep_access;
        identity.secret_key = keep_secret;
    })
    .await?;
    Ok((access, secret))
}

/// Port 0 means a free one, and the same one at the next start.
async fn listen(net: &DevNet, args: &DevArgs) -> Listen {
    let kept = net.identity().await;
    let again = |asked: SocketAddr, kept: u16| {
        if asked.port() == 0 { SocketAddr::new(asked.ip(), kept) } else { asked }
    };
    Listen {
        s3: again(args.s3_listen, kept.s3_port),
        admin: Some(again(args.admin_listen, kept.admin_port)),
        regions: vec!["cess-1".to_owned(), "us-east-1".to_owned()],
        base_domains: Vec::new(),
        fall_back: true,
    }
}

#[allow(clippy::print_stdout, reason = "this is what the command prints")]
fn show(ready: &Ready, reach: &Reach, begun: Instant, new_key: Option<&Path>) {
    if reach.json {
        println!(
            "{}",
            serde_json::json!({ "s3": ready.s3, "admin": ready.admin, "chain": ready.chain, "region": ready.region, "pid": ready.pid })
        );
        return;
    }
    println!(
        "cess-gateway serves (in {} ms). Chain, miners and root key are development stand-ins.\n",
        begun.elapsed().as_millis()
    );
    println!("  S3      {}   region {}", ready.s3, ready.region);
    println!("  admin   {}   (/healthz /readyz /metrics)", ready.admin);
    println!("  chain   {}", ready.chain);
    println!("  data    {}\n", reach.data_dir.display());
    // Into a log or a pipe the secret does not go: whoever may read it finds it in the ready file.
    let secret =
        if std::io::stdout().is_terminal() { ready.secret_key.as_str() } else { "(in the ready file)" };
    println!("  access key  {}", ready.access_key);
    println!("  secret key  {secret}\n");
    println!("Try it from another terminal:\n");
    println!(
        "  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={}",
        ready.access_key, ready.region
    );
    println!(
        "  aws --endpoint-url {} s3 mb s3://first && aws --endpoint-url {} s3 cp README.md s3://first/\n",
        ready.s3, ready.s3
    );
    if let Some(path) = new_key {
        println!("A root key was made: {}. Without it nothing stored can ever be read;", path.display());
        println!(
            "keep a copy elsewhere: cess-gateway key recovery --data-dir {}\n",
            reach.data_dir.display()
        );
    }
    println!("Ctrl-C stops it; the next start resumes.");
}

struct Control(Arc<DevNet>);

#[async_trait]
impl DevControl for Control {
    async fn miner(&self, index: u16, act: &[u8]) -> Result<()> {
        let act: DevMinerAct = serde_json::from_slice(act)
            .map_err(|error| Error::new(format!("not an act for a miner: {error}")))?;
        self.0.act(index, &act).await
    }
}
