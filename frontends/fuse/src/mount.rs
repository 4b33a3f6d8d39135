//! A mount's life: begun, kept, ended.
//!
//! A thread, the keeper, looks after each mount. It ends it when the connection to the kernel breaks,
//! or when a request for names has been at work for so long that its callers must be freed. However a
//! mount ends, the handles that the kernel can no longer close are released, so that files are
//! published, and whoever waits is told how it ended.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use gw_store::files::{Files, HandleId};
use parking_lot::{Condvar, Mutex};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::announce::Announcer;
use crate::config::MountOptions;
use crate::device::{self, Attempt, Cut, MOUNT_KIND};
use crate::engine::Engine;
use crate::frontend::{Frontend, OpenHandles, Opened};
use crate::metrics::MountMetrics;
use crate::watch::Watch;

/// How often the keeper looks, and how often an unmount is tried while files are open.
const KEEPER_PERIOD: Duration = Duration::from_millis(200);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// For a look at the place of a mount, where something dead may be mounted.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// For the connection to end once nothing is mounted.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// `ENOTCONN`, `ECONNABORTED`: what a mount answers whose process is gone.
const DEAD: [i32; 2] = [nix::libc::ENOTCONN, nix::libc::ECONNABORTED];

/// Why nothing was mounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// There is no such directory, or it is something else.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// A gateway serves there already.
    #[error("{0} is mounted already")]
    Mounted(PathBuf),
    /// The directory did not answer: another file system on it hangs.
    #[error("{0} does not answer")]
    Silent(PathBuf),
    /// A call failed.
    #[error("{doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// What came of it.
        #[source]
        source: io::Error,
    },
}

/// How a mount ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By [`Mounted::unmount`], when nobody used it any more.
    Unmounted,
    /// By [`Mounted::unmount`], while files were open: those who had them get errors.
    CutOff,
    /// By somebody else (`umount`, `fusermount3 -u`).
    FromOutside,
    /// It failed, for this reason.
    Failed(String),
}

/// The FUSE frontend.
#[derive(Debug)]
pub struct Mount;

/// A namespace that is mounted. Dropping it unmounts without waiting for anybody.
#[derive(Debug)]
pub struct Mounted {
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<Ended>>,
}

struct Shared {
    at: PathBuf,
    options: MountOptions,
    files: Arc<dyn Files>,
    metrics: Arc<MountMetrics>,
    watch: Arc<Watch>,
    open: OpenHandles,
    /// Who has something open is served although nothing is mounted any more.
    lingers: AtomicBool,
    /// What an unmount that was asked for has come to.
    asked: Mutex<Option<Ended>>,
    woken: Condvar,
    runtime: Handle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Mount {
    /// Mounts a namespace on a directory and serves it, on threads of its own and on the runtime that
    /// this is called in. What a gateway that was killed has left mounted there is taken away first.
    ///
    /// # Errors
    /// See [`MountError`].
    pub async fn start(
        files: Arc<dyn Files>,
        at: &Path,
        options: MountOptions,
    ) -> Result<Mounted, MountError> {
        let runtime = Handle::current();
        let path = at.to_path_buf();
        // Looking at a place where something dead is mounted may take for ever.
        let looking = tokio::task::spawn_blocking(move || free_place(&path));
        let at = match tokio::time::timeout(LOOK_TIMEOUT, looking).await {
            Ok(looked) => looked.unwrap_or_else(|_| Err(MountError::Silent(at.to_path_buf())))?,
            Err(_) => return Err(MountError::Silent(at.to_path_buf())),
        };
        let metrics = Arc::<MountMetrics>::default();
        let watch = Arc::new(Watch::new(options.threads.max(1)));
        let shared = Arc::new(Shared {
            at,
            files,
            metrics,
            watch,
            open: OpenHandles::default(),
            lingers: AtomicBool::new(false),
            asked: Mutex::new(None),
            woken: Condvar::new(),
            runtime: runtime.clone(),
            options,
        });
        let starting = Arc::clone(&shared);
        let started = tokio::task::spawn_blocking(move || start(starting));
        let ended = started.await.map_err(|error| MountError::Io {
            doing: "mounting".to_owned(),
            source: io::Error::other(error),
        })??;
        Ok(Mounted { shared, ended })
    }
}

impl Mounted {
    /// Where.
    pub fn at(&self) -> &Path {
        &self.shared.at
    }

    /// Its counters.
    pub fn metrics(&self) -> Arc<MountMetrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Handles that are open through it.
    pub fn open_count(&self) -> usize {
        self.shared.open.lock().len()
    }

    /// How it ended; `None` while it serves.
    pub fn ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    /// Waits until it has ended.
    pub async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await.map(|ended| ended.clone());
        outcome.ok().flatten().unwrap_or_else(|| Ended::Failed("its keeper is gone".to_owned()))
    }

    /// Makes everything durable, waits for files to be closed for at most
    /// [`unmount_timeout`](crate::MountLimits::unmount_timeout), then cuts off whoever has not.
    pub async fn unmount(self) -> Ended {
        let shared = Arc::clone(&self.shared);
        if self.ended().is_none() {
            shared.sync().await;
            let unmounting = Arc::clone(&shared);
            let mut unmounting = tokio::task::spawn_blocking(move || unmounting.unmount());
            // The kernel writes back what it keeps before it unmounts, and may wait for us as well.
            let patience = shared.options.limits.unmount_timeout + shared.options.limits.request_timeout;
            if tokio::time::timeout(patience, &mut unmounting).await.is_err() {
                let cutting = Arc::clone(&shared);
                // Whether it could be cut off is in the log.
                let _ = tokio::task::spawn_blocking(move || cutting.cut_off(Ended::CutOff)).await;
            }
        }
        let lingers = shared.lingers.load(Ordering::Acquire);
        let (patience, why) = match lingers {
            true => (Duration::ZERO, "it is served to those who have files open: only root may cut them off"),
            false => (shared.options.limits.sync_timeout, "the connection to the kernel did not end"),
        };
        let outcome = tokio::time::timeout(END_TIMEOUT + patience, self.wait()).await;
        outcome.unwrap_or_else(|_| Ended::Failed(why.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.shared.cut_off(Ended::CutOff);
        }
    }
}

impl Shared {
    async fn sync(&self) {
        let limit = self.options.limits.sync_timeout;
        match tokio::time::timeout(limit, self.files.syncfs()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(at = %self.at.display(), %error, "not everything is durable"),
            Err(_) => tracing::warn!(at = %self.at.display(), "not everything was durable in time"),
        }
    }

    fn unmount(&self) {
        let until = Instant::now() + self.options.limits.unmount_timeout;
        loop {
            // Said before it is done: the keeper sees the end of the connection at once.
            *self.asked.lock() = Some(Ended::Unmounted);
            match device::unmount(&self.at) {
                Ok(Attempt::Gone) => return,
                Ok(Attempt::Busy) if Instant::now() < until => {
                    let mut asked = self.asked.lock();
                    self.woken.wait_for(&mut asked, BUSY_PAUSE);
                }
                Ok(Attempt::Busy) => {
                    let open = self.open.lock().len();
                    tracing::warn!(at = %self.at.display(), open, "files are open; they are cut off");
                    return self.cut_off(Ended::CutOff);
                }
                Err(error) => {
                    tracing::warn!(at = %self.at.display(), %error, "cannot be unmounted; it is cut off");
                    return self.cut_off(Ended::CutOff);
                }
            }
        }
    }

    fn cut_off(&self, why: Ended) {
        *self.asked.lock() = Some(why);
        match device::cut_off(&self.at) {
            Ok(Cut::Off) => {}
            Ok(Cut::Lingers) => self.lingers.store(true, Ordering::Release),
            Err(error) => {
                tracing::warn!(at = %self.at.display(), %error, "the mount could not be taken away");
            }
        }
    }

    /// Closes what the kernel no longer can, so that it is published and given back.
    async fn release_all(&self) {
        let left: Vec<(HandleId, Opened)> = self.open.lock().drain().collect();
        for (handle, what) in left {
            match what {
                Opened::Directory => self.files.releasedir(handle),
                Opened::File => {
                    let limit = self.options.limits.sync_timeout;
                    let released = tokio::time::timeout(limit, self.files.release(handle)).await;
                    if !matches!(released, Ok(Ok(()))) {
                        tracing::warn!(at = %self.at.display(), ?released, "a file was not closed cleanly");
                    }
                }
            }
        }
    }
}

/// A directory where nothing of ours is mounted.
fn free_place(at: &Path) -> Result<PathBuf, MountError> {
    let failed = |source| MountError::Io { doing: format!("looking at {}", at.display()), source };
    let at = device::resolved(at).map_err(failed)?;
    for _ in 0..2 {
        let ours = device::mounted(&at).map_err(failed)?.is_some_and(|line| line.kind == MOUNT_KIND);
        match std::fs::metadata(&at) {
            Ok(_) if ours => return Err(MountError::Mounted(at)),
            Ok(found) if found.is_dir() => return Ok(at),
            Err(error) if ours && error.raw_os_error().is_some_and(|code| DEAD.contains(&code)) => {
                tracing::warn!(at = %at.display(), "taking away what a gateway left mounted that is gone");
                device::cut_off(&at).map_err(failed)?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => return Err(MountError::NotADirectory(at)),
        }
    }
    Err(MountError::Mounted(at))
}

fn start(shared: Arc<Shared>) -> Result<watch::Receiver<Option<Ended>>, MountError> {
    let failed =
        |doing: &str, source| MountError::Io { doing: format!("{doing} {}", shared.at.display()), source };
    let (device, session) = connect(&shared).map_err(|error| failed("mounting on", error))?;
    if let Err(error) = device::read_ahead(&shared.at, shared.options.cache.readahead_bytes) {
        tracing::debug!(%error, "the kernel reads ahead as far as it does by default");
    }
    let (stop, stopped) = watch::channel(false);
    let announcer = Announcer {
        files: Arc::clone(&shared.files),
        notifier: session.notifier(),
        device,
        metrics: Arc::clone(&shared.metrics),
        runtime: shared.runtime.clone(),
        stop: stopped,
    };
    let (ended, ends) = watch::channel(None);
    let (name, at) = (|what: &str| format!("mount-{what}"), shared.at.clone());
    let announcing = std::thread::Builder::new().name(name("announce")).spawn(|| announcer.run());
    let keeper = Keeper { shared: Arc::clone(&shared), session, stop, ended };
    let keeping = std::thread::Builder::new().name(name("keeper")).spawn(|| keeper.run());
    if let Err(error) = announcing.and(keeping) {
        // Threads that were not there to be had: nothing else would ever take the mount away.
        let _ = device::cut_off(&at);
        return Err(failed("serving", error));
    }
    tracing::info!(at = %shared.at.display(), "mounted");
    Ok(ends)
}

fn connect(shared: &Shared) -> io::Result<(Option<std::fs::File>, BackgroundSession)> {
    let options = &shared.options;
    let engine = Engine::new(
        Arc::clone(&shared.files),
        Arc::clone(&shared.metrics),
        Arc::clone(&shared.watch),
        options.limits,
        shared.runtime.clone(),
    );
    let frontend = Frontend::new(engine, options.clone(), Arc::clone(&shared.open));
    let mut config = Config::default();
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(1));
    config.clone_fd = options.threads > 1;
    if !device::is_root() {
        config.mount_options = through_fusermount(options);
        return Session::new(frontend, &shared.at, &config)?.spawn().map(|session| (None, session));
    }
    let device = device::mount_here(&shared.at, options)?;
    let again = device.try_clone();
    let acl = config.acl;
    let session = Session::from_fd(frontend, OwnedFd::from(device), acl, config).and_then(Session::spawn);
    if session.is_err() {
        // The error that counts is the session's.
        let _ = device::cut_off(&shared.at);
    }
    Ok((again.ok(), session?))
}

fn through_fusermount(options: &MountOptions) -> Vec<MountOption> {
    let mut asked = vec![
        MountOption::FSName(options.source.clone()),
        MountOption::Subtype("cess-gateway".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    if options.read_only {
        asked.push(MountOption::RO);
    }
    if !options.execute {
        asked.push(MountOption::NoExec);
    }
    asked
}

/// Looks after a mount until it has ended.
struct Keeper {
    shared: Arc<Shared>,
    session: BackgroundSession,
    stop: watch::Sender<bool>,
    ended: watch::Sender<Option<Ended>>,
}

impl Keeper {
    fn run(self) {
        let broken = self.keep();
        let Self { shared, session, stop, ended } = self;
        stop.send_replace(true);
        let why = match broken {
            Some(stuck) => {
                tracing::error!(at = %shared.at.display(), reason = stuck, "the mount is ended");
                shared.cut_off(Ended::Failed(stuck.clone()));
                Ended::Failed(stuck)
            }
            None => {
                let BackgroundSession { guard, .. } = session;
                close(&shared, guard)
            }
        };
        shared.runtime.block_on(async {
            shared.release_all().await;
            shared.sync().await;
        });
        tracing::info!(at = %shared.at.display(), ?why, "unmounted");
        ended.send_replace(Some(why));
    }

    /// Until the connection has ended, or must be; then with the reason.
    fn keep(&self) -> Option<String> {
        let shared = &self.shared;
        loop {
            if self.session.guard.is_finished() {
                return None;
            }
            if let Some((op, taken)) = shared.watch.stuck(shared.options.limits.stuck_timeout) {
                return Some(format!(
                    "a request ({}) has not come back for {} s",
                    op.name(),
                    taken.as_secs()
                ));
            }
            let mut asked = shared.asked.lock();
            shared.woken.wait_for(&mut asked, KEEPER_PERIOD);
        }
    }
}

/// How a connection ended that has.
fn close(shared: &Shared, guard: JoinHandle<io::Result<()>>) -> Ended {
    let outcome = guard.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the mount panicked")));
    let asked = shared.asked.lock().take();
    match (outcome, asked) {
        (_, Some(asked)) => asked,
        (Ok(()), None) => {
            // A lazy unmount from outside ends here too; a connection that was aborted is still mounted.
            let left = device::mounted(&shared.at).ok().flatten().is_some_and(|line| line.kind == MOUNT_KIND);
            if left && std::fs::metadata(&shared.at).is_err() {
                shared.cut_off(Ended::FromOutside);
            }
            Ended::FromOutside
        }
        (Err(error), None) => {
            shared.cut_off(Ended::Failed(error.to_string()));
            Ended::Failed(error.to_string())
        }
    }
}
