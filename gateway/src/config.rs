//! `serve`'s configuration: TOML, every key documented, unknown keys refused by name.
//!
//! The shapes below are the reference; docs/CONFIG.md prints them with examples. Secrets never
//! stand in the file: it names files (0600) or environment variables that hold them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::access_log::AccessLogSection;
use crate::error::{Context, Result, fail};
use crate::mounts::options::MountSpec;
use crate::notify::{self, NotifySection};
use crate::territory::{RenewPolicy, Renewal};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Journal, catalog, staged segments and caches. Default `./cess-data`.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    #[serde(default)]
    pub s3: S3Section,
    #[serde(default)]
    pub nbd: NbdSection,
    #[serde(default)]
    pub admin: AdminSection,
    pub chain: ChainSection,
    pub territory: TerritorySection,
    pub key: KeySection,
    #[serde(default)]
    pub store: StoreSection,
    #[serde(default)]
    pub dispersal: DispersalSection,
    #[serde(default)]
    pub compaction: CompactionSection,
    /// `[access_log]`: a line for each S3 request. Default none.
    #[serde(default)]
    pub access_log: AccessLogSection,
    /// `[[notify]]`: where events of buckets may go. Default nowhere.
    #[serde(default)]
    pub notify: Vec<NotifySection>,
    #[serde(default)]
    pub mount: Vec<MountSection>,
}

/// `[s3]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct S3Section {
    /// Address and port. Default 127.0.0.1:9000.
    pub listen: SocketAddr,
    /// Regions a signature may name; the first is the gateway's own. Default cess-1, us-east-1.
    pub regions: Vec<String>,
    /// Domains whose sub-domains are buckets (virtual-host style). Default none: path style only.
    pub base_domains: Vec<String>,
    /// Domains whose sub-domains are the websites of buckets. Default none.
    pub website_domains: Vec<String>,
    /// `closed` (lists off, strangers blocked, as AWS since 2023) or `classic`. Default closed.
    pub new_buckets: NewBuckets,
    /// Signature Version 2: `refused`, or `presigned` for queries and forms. Default refused.
    pub sigv2: SigV2,
    /// Requests in a second that each access key may make, where its account has no limit of its own.
    /// Default none.
    pub key_requests_per_second: Option<u32>,
    /// Bytes of bodies in a second that each may move, in and out together. Default none.
    pub key_bytes_per_second: Option<u64>,
    /// Serves over TLS, and over nothing else. Default none: plain HTTP.
    pub tls: Option<TlsSection>,
}

/// `[s3.tls]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TlsSection {
    /// PEM file with the certificate and those that lead to its authority, its own first.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// How open a new bucket is.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewBuckets {
    #[default]
    Closed,
    Classic,
}

/// Where Signature Version 2 is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigV2 {
    #[default]
    Refused,
    Presigned,
}

impl From<NewBuckets> for gw_s3::NewBuckets {
    fn from(new: NewBuckets) -> Self {
        match new {
            NewBuckets::Closed => Self::Closed,
            NewBuckets::Classic => Self::Classic,
        }
    }
}

impl Default for S3Section {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            regions: vec!["cess-1".to_owned(), "us-east-1".to_owned()],
            base_domains: Vec::new(),
            website_domains: Vec::new(),
            new_buckets: NewBuckets::default(),
            sigv2: SigV2::default(),
            key_requests_per_second: None,
            key_bytes_per_second: None,
            tls: None,
        }
    }
}

/// `[nbd]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NbdSection {
    /// Where volumes are served: addresses, or `unix:PATH` (0600). Default none: no NBD.
    pub listen: Vec<String>,
    /// Lets in whoever comes over TCP without proof: he gets what is exported to anyone. Default false.
    pub insecure: bool,
    /// Who is which user of the store.
    pub users: Vec<NbdUser>,
    /// Certificates; then clients from other machines must use TLS. Default none.
    pub tls: Option<NbdTls>,
}

/// `[[nbd.users]]`: a user of the store, and the one proof that he is it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NbdUser {
    /// The user's name in the store.
    pub name: String,
    /// The user id of the process at the other end of a unix socket.
    pub uid: Option<u32>,
    /// File (0600) with a token that stands before an export's name: `token:SECRET@NAME`.
    pub token_file: Option<PathBuf>,
    /// SHA-256 of his certificate, in hexadecimal.
    pub fingerprint: Option<String>,
    /// A DNS name of his certificate.
    pub dns_name: Option<String>,
}

/// `[nbd.tls]`
#[derive(Clone, Debug, Deserialize)]
pub struct NbdTls {
    /// PEM file with the certificate chain, its own first.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authorities that sign clients' certificates. Default none are asked for.
    pub clients: Option<PathBuf>,
    /// Whether a client must show one. Default false: a token may do.
    #[serde(default)]
    pub clients_required: bool,
}

/// `[admin]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AdminSection {
    /// Serves /healthz, /readyz, /metrics openly and the rest with the token of
    /// `data_dir/admin.token`. Default: not served; the admin socket always is.
    pub listen: Option<SocketAddr>,
}

/// `[chain]`
#[derive(Clone, Debug, Deserialize)]
pub struct ChainSection {
    /// `ws://` (loopback, or with `allow_insecure`) or `wss://`.
    pub url: String,
    /// File (0600) with the account's mnemonic or secret URI. Without it, CESS_GATEWAY_MNEMONIC.
    pub account_file: Option<PathBuf>,
    /// Allow `ws://` to another machine. Default false.
    #[serde(default)]
    pub allow_insecure: bool,
}

/// `[territory]`
#[derive(Clone, Debug, Deserialize)]
pub struct TerritorySection {
    /// The territory that objects are stored in. It must exist: `cess-gateway territory mint`.
    pub name: String,
    /// Bytes of it that bodies may not take, so that deleting and compacting have some. Default: 12 GiB
    /// (two deals of large bodies), but at most an eighth of the territory.
    pub reserve_bytes: Option<u64>,
    /// When the gateway renews it by itself: `never`, `locks` (as long as object locks reach beyond its
    /// end) or `always`. Each renewal spends money. Default `never`.
    #[serde(default)]
    pub renew: RenewPolicy,
    /// Days that each renewal adds. Default 30.
    pub renew_days: Option<u32>,
    /// Days to go below which it is renewed. Default 14.
    pub renew_days_left: Option<u32>,
}

impl TerritorySection {
    /// How it is renewed.
    pub fn renewal(&self) -> Renewal {
        let default = Renewal::default();
        Renewal {
            policy: self.renew,
            days: self.renew_days.unwrap_or(default.days),
            days_left: self.renew_days_left.unwrap_or(default.days_left),
        }
    }
}

/// `[key]`
#[derive(Clone, Debug, Deserialize)]
pub struct KeySection {
    /// The root key, made by `cess-gateway key init`. Keep it outside `data_dir`; where it is wrapped
    /// by a passphrase, that comes from CESS_GATEWAY_PASSPHRASE.
    pub file: PathBuf,
}

/// `[store]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoreSection {
    /// `fjall` or `sled`. Default: what the data directory has, else fjall.
    pub catalog: Option<String>,
    /// Bytes of sealed data that may wait on this disk. Default: the lesser of 64 GiB and half of
    /// what is free.
    pub staging_bytes_max: Option<u64>,
    /// Bytes of memory for cached data. Default 64 MiB.
    pub cache_bytes_max: Option<u64>,
    /// Bytes of disk for copies of what is finalized: segment files that need not be here, and sealed
    /// frames that miners sent. Default: the lesser of 16 GiB and a tenth of what is free. Below 16 MiB
    /// no frames are kept.
    pub disk_cache_bytes_max: Option<u64>,
}

/// `[dispersal]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct DispersalSection {
    /// Milliseconds after which a segment that is not full is sealed. Default one hour.
    pub seal_age_ms: u64,
    /// Milliseconds that a waiter for `dispersed` or `finalized` gives others to join. Default 2000.
    pub linger_ms: u64,
}

impl Default for DispersalSection {
    fn default() -> Self {
        Self { seal_age_ms: 3_600_000, linger_ms: 2_000 }
    }
}

/// `[compaction]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct CompactionSection {
    /// Bytes of free territory below which it begins by itself. Default: twice the reserve.
    pub room_bytes: Option<u64>,
    /// Percentage of dead bytes in Active deals above which it begins by itself. Default 50; 100: never.
    pub dead_percent: u8,
}

impl Default for CompactionSection {
    fn default() -> Self {
        Self { room_bytes: None, dead_percent: 50 }
    }
}

/// `[[mount]]`, one for each
#[derive(Clone, Debug, Deserialize)]
pub struct MountSection {
    /// The directory.
    pub at: PathBuf,
    /// The user of the gateway whose rights it has.
    pub user: String,
    /// One bucket. Default: a directory for each.
    pub bucket: Option<String>,
    /// As in fstab, with commas. Default none.
    #[serde(default)]
    pub options: String,
}

impl MountSection {
    /// What is to be mounted.
    pub fn spec(&self) -> Result<MountSpec> {
        let doing = || format!("in [[mount]] for {}", self.at.display());
        let mut spec =
            MountSpec::parse(self.at.clone(), self.bucket.clone(), &self.options).context(doing)?;
        spec.user = Some(self.user.clone());
        Ok(spec)
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("cess-data")
}

const KEYS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "data_dir",
            "s3",
            "nbd",
            "admin",
            "chain",
            "territory",
            "key",
            "store",
            "dispersal",
            "compaction",
            "access_log",
            "notify",
            "mount",
        ],
    ),
    (
        "s3",
        &[
            "listen",
            "regions",
            "base_domains",
            "website_domains",
            "new_buckets",
            "sigv2",
            "key_requests_per_second",
            "key_bytes_per_second",
            "tls",
        ],
    ),
    ("s3.tls", &["cert", "key"]),
    ("nbd", &["listen", "insecure", "users", "tls"]),
    ("nbd.tls", &["cert", "key", "clients", "clients_required"]),
    ("admin", &["listen"]),
    ("access_log", &["to", "file_bytes_max", "files"]),
    ("chain", &["url", "account_file", "allow_insecure"]),
    ("territory", &["name", "reserve_bytes", "renew", "renew_days", "renew_days_left"]),
    ("key", &["file"]),
    ("store", &["catalog", "staging_bytes_max", "cache_bytes_max", "disk_cache_bytes_max"]),
    ("dispersal", &["seal_age_ms", "linger_ms"]),
    ("compaction", &["room_bytes", "dead_percent"]),
    ("mount", &["at", "user", "bucket", "options"]),
];

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context(|| "not TOML".to_owned())?;
        refuse_unknown(&table)?;
        let config: Self =
            table.try_into().context(|| "a value is missing or of the wrong kind".to_owned())?;
        if config.s3.regions.is_empty() {
            return fail("s3.regions is empty: clients sign for a region, so name at least one");
        }
        if config.compaction.dead_percent > 100 {
            return fail("compaction.dead_percent is above 100; 100 switches it off");
        }
        if config.territory.renew_days == Some(0) {
            return fail("territory.renew_days is 0; `renew = \"never\"` switches renewal off");
        }
        if let Some(engine) = &config.store.catalog
            && !["sled", "fjall"].contains(&engine.as_str())
        {
            return fail(format!("store.catalog is {engine:?}; it is `sled` or `fjall`"));
        }
        Ok(config)
    }
}

/// The tables of a section: one, or those of a list.
fn tables<'a>(table: &'a toml::Table, section: &str) -> Vec<&'a toml::Table> {
    let mut found = vec![table];
    for word in section.split('.').filter(|word| !word.is_empty()) {
        let inner = found.into_iter().filter_map(|table| table.get(word));
        found = inner
            .flat_map(|value| match value {
                toml::Value::Table(table) => vec![table],
                toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_table).collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    found
}

fn refuse_unknown(table: &toml::Table) -> Result<()> {
    for (section, known) in KEYS {
        for table in tables(table, section) {
            refuse_unknown_in(section, table, known)?;
        }
    }
    let notify = table.get("notify").and_then(toml::Value::as_array);
    for target in notify.into_iter().flatten().filter_map(toml::Value::as_table) {
        refuse_unknown_in("notify", target, notify::KEYS)?;
    }
    Ok(())
}

fn refuse_unknown_in(section: &str, table: &toml::Table, known: &[&str]) -> Result<()> {
    for key in table.keys() {
        if !known.contains(&key.as_str()) {
            let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
            let nearest = known
                .iter()
                .min_by_key(|candidate| strsim::damerau_levenshtein(candidate, key))
                .expect("every section has keys");
            return fail(format!("there is no key {prefix}{key}; did you mean {prefix}{nearest}?"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Config;
    use crate::territory::RenewPolicy;

    const LEAST: &str =
        "[chain]\nurl = 'ws://127.0.0.1:9944'\n[territory]\nname = 'main'\n[key]\nfile = '/k'\n";

    #[test]
    fn the_least_file_has_sane_defaults() {
        let config = Config::parse(LEAST).unwrap();
        assert_eq!(config.s3.regions, ["cess-1", "us-east-1"]);
        assert_eq!(config.dispersal.seal_age_ms, 3_600_000);
        assert_eq!((config.compaction.dead_percent, config.territory.reserve_bytes), (50, None));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let text = format!("{LEAST}[dispersal]\nseal_age_sm = 5\n");
        let error = Config::parse(&text).unwrap_err().to_string();
        assert!(error.contains("dispersal.seal_age_sm; did you mean dispersal.seal_age_ms?"), "{error}");
        let error =
            Config::parse(&format!("{LEAST}[compaction]\ndead_percent = 101\n")).unwrap_err().to_string();
        assert!(error.contains("dead_percent"), "{error}");
        let error = Config::parse(&format!("dta_dir = '/d'\n{LEAST}")).unwrap_err().to_string();
        assert!(error.contains("did you mean data_dir?"), "{error}");
    }

    #[test]
    fn sizes_of_the_store_are_read() {
        let text = format!("{LEAST}[store]\ncache_bytes_max = 1\ndisk_cache_bytes_max = 0\n");
        let store = Config::parse(&text).unwrap().store;
        assert_eq!((store.cache_bytes_max, store.disk_cache_bytes_max), (Some(1), Some(0)));
        assert_eq!(Config::parse(LEAST).unwrap().store.disk_cache_bytes_max, None);
    }

    #[test]
    fn users_of_nbd_are_tables_and_their_keys_are_known() {
        let text = "[nbd]\nlisten = ['unix:/run/n']\n[[nbd.users]]\nname = 'ada'\nuid = 1000\n";
        let nbd = Config::parse(&format!("{LEAST}{text}")).unwrap().nbd;
        assert_eq!((nbd.listen.len(), nbd.users[0].uid, nbd.insecure), (1, Some(1000), false));
        assert!(Config::parse(&format!("{LEAST}{text}gid = 5\n")).is_err());
        let error = Config::parse(&format!("{LEAST}[nbd]\nlistn = []\n")).unwrap_err().to_string();
        assert!(error.contains("did you mean nbd.listen?"), "{error}");
    }

    #[test]
    fn tls_names_both_files() {
        let tls = |text: &str| Config::parse(&format!("{LEAST}[s3.tls]\n{text}")).map(|config| config.s3.tls);
        let section = tls("cert = '/c.pem'\nkey = '/k.pem'\n").unwrap().unwrap();
        assert_eq!((section.cert.to_str(), section.key.to_str()), (Some("/c.pem"), Some("/k.pem")));
        assert!(tls("cert = '/c.pem'\n").is_err());
        let error = tls("cert = '/c'\nky = '/k'\n").unwrap_err().to_string();
        assert!(error.contains("s3.tls.ky; did you mean s3.tls.key?"), "{error}");
    }

    #[test]
    fn mounts_are_a_list_with_options_of_fstab() {
        let text = "[[mount]]\nat = '/a'\nuser = 'alice'\n\
                    [[mount]]\nat = '/b'\nuser = 'bob'\nbucket = 'photos'\noptions = 'ro,allow_other'\n";
        let mounts = Config::parse(&format!("{LEAST}{text}")).unwrap().mount;
        let specs: Vec<_> = mounts.iter().map(|mount| mount.spec().unwrap()).collect();
        assert_eq!(
            specs.iter().map(|spec| spec.user.as_deref()).collect::<Vec<_>>(),
            [Some("alice"), Some("bob")]
        );
        assert!(specs[1].kernel.read_only && !specs[0].kernel.read_only);
        let error = Config::parse(&format!("{LEAST}{text}optons = ''\n")).unwrap_err().to_string();
        assert!(error.contains("mount.optons; did you mean mount.options?"), "{error}");
    }

    #[test]
    fn a_territory_is_renewed_only_where_the_file_says_so() {
        let renewal = |text: &str| {
            let text = LEAST.replace("[key]", &format!("{text}\n[key]"));
            Config::parse(&text).map(|config| config.territory.renewal())
        };
        assert_eq!(renewal("").unwrap().policy, RenewPolicy::Never);
        let told = renewal("renew = 'locks'\nrenew_days = 90").unwrap();
        assert_eq!((told.policy, told.days, told.days_left), (RenewPolicy::Locks, 90, 14));
        assert!(renewal("renew = 'yes'").is_err() && renewal("renew_days = 0").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Config::parse("[chain]\nurl = 'x'\n").unwrap_err().to_string();
        assert!(error.contains("territory") || error.contains("key"), "{error}");
    }
}
