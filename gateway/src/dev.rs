//! `cess-gateway dev`: the whole stack in one process, with a development network behind it.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gw_clock::SystemClock;
use gw_db::catalog::Engine;
use gw_dispersal::DispersalConfig;
use gw_miner_client::{HttpMiners, HttpMinersConfig, ReadKey};
use gw_store::{Secret, UserSpec};
use gw_tee::{RootKey, RootKeys};
use gw_types::ports::{Clock, Keys, Miners};
use gw_types::{Authenticated, Frontend, TerritoryName};
use zeroize::Zeroizing;

use crate::access_log::AccessLogSection;
use crate::admin::routes::DevControl;
use crate::cli::{DevArgs, DevMinerAct, Reach};
use crate::config::{NbdSection, NbdUser};
use crate::core::{Core, CoreConfig, CorePorts};
use crate::datadir::DataDir;
use crate::devnet::{DevNet, TERRITORY};
use crate::error::{Context, Error, Result};
use crate::mounts::options::MountSpec;
use crate::notify::Target;
use crate::ready::{Credentials, Ready, ReadyFile};
use crate::run::{Listen, Serving, random_text, told_to_stop};
use crate::territory::{RenewPolicy, Renewal};

/// Runs until told to stop.
pub async fn dev(reach: &Reach, args: &DevArgs) -> Result<()> {
    let begun = Instant::now();
    let dir = Arc::new(DataDir::own(&reach.data_dir)?);
    let ready_path = args.ready_file.clone().unwrap_or_else(|| dir.join("ready.json"));
    let ready_file = ReadyFile::claim(&ready_path)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if args.network_only {
        let net = DevNet::start(Arc::clone(&dir), args, clock).await?;
        return network_only(net, reach, ready_file).await;
    }
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
    let targets = args.notify.iter().map(|text| Target::webhook(text)).collect::<Result<Vec<_>>>()?;
    let config = CoreConfig {
        folder: dir.join("store"),
        engine: args.catalog.as_deref().and_then(Engine::from_name),
        staging_bytes_max: args.staging_bytes_max,
        cache_bytes_max: None,
        disk_cache_bytes_max: None,
        dispersal,
        renewal: Renewal {
            policy: RenewPolicy::parse(&args.territory_renew).unwrap_or_default(),
            ..Renewal::default()
        },
        accept_incomplete_restore: args.accept_incomplete_restore,
        event_targets: targets.iter().map(|target| target.queue.clone()).collect(),
    };
    let core = Core::open(CorePorts { chain: net.chain(), miners, keys, clock }, config).await?;
    let (access_key, secret_key) = credentials(&net, args).await?;
    first_user(&core, &access_key, &secret_key).await?;

    let mut listen = listen(&net, args, targets, &dir.join(".")).await;
    listen.mounts = mounts(args)?;
    listen.mount_user = core
        .store
        .credential(&access_key)
        .await
        .context(|| "finding the first user".to_owned())?
        .map(|credential| credential.user.to_string());
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
    let credentials = Credentials { access_key, secret_key: secret_key.to_string() };
    let ready = Ready {
        s3: Some(serving.s3_url()),
        admin: serving.admin_addr().map(|addr| format!("http://{addr}")),
        nbd: serving.nbd_uris(),
        chain: net.chain_url(),
        region: listen.regions.first().cloned(),
        credentials: Some(credentials.clone()),
        mount: serving.mounts(),
        pid: std::process::id(),
    };
    ready_file.announce(&ready)?;
    show(&ready, &credentials, reach, begun, new_key.then_some(key_path.as_path()));

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

/// The credentials of the first user: made where the store has no user of this name.
async fn first_user(core: &Core, access_key: &str, secret: &str) -> Result<()> {
    let doing = || "adding the first user".to_owned();
    if core.store.credential(access_key).await.context(doing)?.is_some() {
        return Ok(());
    }
    let admin = Authenticated::user("admin", Frontend::Admin);
    let users = core.store.user_list(&admin).await.context(doing)?;
    let name = if users.iter().any(|user| user.name == "root") {
        format!("root-{access_key}")
    } else {
        "root".to_owned()
    };
    let spec = UserSpec {
        name,
        admin: true,
        access_key: Some(access_key.to_owned()),
        secret: Some(Secret::new(secret)),
    };
    core.store.user_add(&admin, spec).await.context(doing)?;
    Ok(())
}

/// Port 0 means a free one, and the same one at the next start.
async fn listen(net: &DevNet, args: &DevArgs, notify: Vec<Target>, folder: &Path) -> Listen {
    let kept = net.identity().await;
    let again = |asked: SocketAddr, kept: u16| {
        if asked.port() == 0 { SocketAddr::new(asked.ip(), kept) } else { asked }
    };
    Listen {
        s3: again(args.s3_listen, kept.s3_port),
        admin: Some(again(args.admin_listen, kept.admin_port)),
        regions: vec!["cess-1".to_owned(), "us-east-1".to_owned()],
        base_domains: Vec::new(),
        website_domains: Vec::new(),
        new_buckets: gw_s3::NewBuckets::default(),
        sigv2_presigned: false,
        key_limits: gw_store::KeyLimits::default(),
        tls: None,
        access_log: AccessLogSection { to: args.access_log.clone(), ..AccessLogSection::default() },
        nbd: nbd(args, folder),
        fall_back: true,
        notify,
        mounts: Vec::new(),
        mount_user: None,
    }
}

fn mounts(args: &DevArgs) -> Result<Vec<MountSpec>> {
    let options = args.mount_options.as_deref().unwrap_or_default();
    args.mount.iter().map(|at| MountSpec::parse(at.clone(), None, options)).collect()
}

/// Whoever runs as the owner of the data directory is the first user; over TCP strangers get what is
/// exported to anyone.
fn nbd(args: &DevArgs, folder: &Path) -> NbdSection {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata(folder).ok().map(|folder| folder.uid());
    let owner = NbdUser { name: "root".to_owned(), uid, ..NbdUser::default() };
    NbdSection { listen: args.nbd_listen.clone(), insecure: true, users: vec![owner], tls: None }
}

/// The chain and the miners, until told to stop.
#[allow(clippy::print_stdout, reason = "this is what the command prints")]
async fn network_only(net: DevNet, reach: &Reach, ready_file: ReadyFile) -> Result<()> {
    let ready = Ready {
        s3: None,
        admin: None,
        nbd: Vec::new(),
        chain: net.chain_url(),
        region: None,
        credentials: None,
        mount: Vec::new(),
        pid: std::process::id(),
    };
    ready_file.announce(&ready)?;
    if reach.json {
        println!("{}", serde_json::json!({ "chain": ready.chain, "pid": ready.pid }));
    } else {
        println!("A development chain and its miners run; there is no gateway. For one, in its file:\n");
        println!("  [chain]\n  url = \"{}\"\n  [territory]\n  name = \"{TERRITORY}\"\n", ready.chain);
        println!("The account is the mnemonic in {}.", reach.data_dir.join("dev.json").display());
    }
    told_to_stop().await?;
    drop(ready_file);
    net.stop().await;
    Ok(())
}

#[allow(clippy::print_stdout, reason = "this is what the command prints")]
fn show(ready: &Ready, user: &Credentials, reach: &Reach, begun: Instant, new_key: Option<&Path>) {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    let (s3, admin, region) = (or_none(&ready.s3), or_none(&ready.admin), or_none(&ready.region));
    if reach.json {
        let told = serde_json::json!({
            "s3": s3, "admin": admin, "nbd": ready.nbd, "chain": ready.chain, "region": region, "pid": ready.pid
        });
        println!("{told}");
        return;
    }
    println!(
        "cess-gateway serves (in {} ms). Chain, miners and root key are development stand-ins.\n",
        begun.elapsed().as_millis()
    );
    println!("  S3      {s3}   region {region}");
    println!("  admin   {admin}   (/healthz /readyz /metrics)");
    for uri in &ready.nbd {
        println!("  NBD     {uri}");
    }
    println!("  chain   {}", ready.chain);
    for at in &ready.mount {
        println!("  mount   {}", at.display());
    }
    println!("  data    {}\n", reach.data_dir.display());
    // Into a log or a pipe the secret does not go: whoever may read it finds it in the ready file.
    let secret =
        if std::io::stdout().is_terminal() { user.secret_key.as_str() } else { "(in the ready file)" };
    println!("  access key  {}", user.access_key);
    println!("  secret key  {secret}\n");
    println!("Try it from another terminal:\n");
    println!(
        "  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={region}",
        user.access_key
    );
    println!(
        "  aws --endpoint-url {s3} s3 mb s3://first && aws --endpoint-url {s3} s3 cp README.md s3://first/\n"
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
