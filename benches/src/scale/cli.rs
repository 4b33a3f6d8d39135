//! The command line, and the parent that starts, reads and kills the children.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::{Parser, ValueEnum};
use gw_db::catalog::Engine;

use super::report::{Filled, Measured, Opened, Report, Said};
use super::{Error, Result, doing, fill, open};

/// What a store of many objects costs, on each catalog engine.
#[derive(Debug, Parser)]
#[command(name = "scale", version)]
pub struct Cli {
    /// Objects put
    #[arg(long, default_value_t = 2_000_000)]
    objects: u64,
    /// The engine to measure
    #[arg(long, value_enum, default_value_t = Which::Both)]
    engine: Which,
    /// Bytes of each object
    #[arg(long, default_value_t = 4096)]
    body_bytes: usize,
    /// Objects under way at a time
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// Release no journal file, as when dispersal stands still
    #[arg(long)]
    keep_journal: bool,
    /// Where the stores are made; a folder beside this program unless said
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Leave the stores where they are
    #[arg(long)]
    keep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What a child does.
    #[arg(long, value_enum, hide = true)]
    phase: Option<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Sled,
    Fjall,
    Both,
}

impl Which {
    fn engines(self) -> Vec<Engine> {
        match self {
            Self::Sled => vec![Engine::Sled],
            Self::Fjall => vec![Engine::Fjall],
            Self::Both => vec![Engine::Fjall, Engine::Sled],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Phase {
    Fill,
    Open,
}

/// What a child is told.
#[derive(Debug)]
pub struct ChildArgs {
    /// Where the store is.
    pub folder: PathBuf,
    /// Its engine.
    pub engine: Engine,
    /// Objects put, or that must be there.
    pub objects: u64,
    /// Bytes of each.
    pub body_bytes: usize,
    /// Objects under way at a time.
    pub writers: usize,
    /// Release no journal file.
    pub keep_journal: bool,
}

/// Measures, or does a child's part; `tell` shows how far it is. Returns what is to be printed.
pub fn run(cli: &Cli, tell: impl Fn(&str)) -> Result<Option<String>> {
    if let Some(phase) = cli.phase {
        return child(cli, phase).map(|()| None);
    }
    let folder = match &cli.folder {
        Some(folder) => folder.clone(),
        None => beside_program()?,
    };
    let mut engines = Vec::new();
    for engine in cli.engine.engines() {
        let folder = folder.join(engine.name());
        fs::create_dir_all(&folder).map_err(doing("make a folder"))?;
        let measured = measure(cli, engine, &folder, &tell);
        if !cli.keep {
            fs::remove_dir_all(&folder).map_err(doing("remove what was measured"))?;
        }
        engines.push(measured?);
    }
    if !cli.keep {
        // Somebody else's folder may hold more; then it stays.
        let _ = fs::remove_dir(&folder);
    }
    let report = Report { objects: cli.objects, body_bytes: cli.body_bytes, writers: cli.writers, engines };
    Ok(Some(if cli.json { serde_json::to_string_pretty(&report)? } else { report.to_string() }))
}

/// The system's temporary folder may be memory; where this was built there is a disk.
fn beside_program() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(doing("find this program"))?;
    let folder = program.parent().unwrap_or(Path::new("."));
    Ok(folder.join(format!("scale-{}", std::process::id())))
}

fn measure(cli: &Cli, engine: Engine, folder: &Path, tell: &impl Fn(&str)) -> Result<Measured> {
    let tell = |what: &str| tell(&format!("{:<6} {what}", engine.name()));
    tell("fill");
    let filled = fill_and_kill(cli, engine, folder, &tell)?;
    tell("killed; open");
    let unclean = opened(cli, engine, folder)?;
    tell("stopped; open");
    let clean = opened(cli, engine, folder)?;
    tell("stopped, catalog deleted; open");
    fs::remove_dir_all(folder.join(engine.name())).map_err(doing("delete the catalog"))?;
    let rebuilt = opened(cli, engine, folder)?;
    Ok(Measured { engine: engine.name().to_owned(), filled, unclean, clean, rebuilt })
}

fn fill_and_kill(cli: &Cli, engine: Engine, folder: &Path, tell: &impl Fn(&str)) -> Result<Filled> {
    let mut child = start(cli, engine, folder, Phase::Fill)?;
    let filled = loop {
        match hear(&mut child) {
            Ok(Some(Said::Progress(progress))) => tell(&progress.to_string()),
            Ok(Some(Said::Filled(filled))) => break Ok(filled),
            Ok(_) => break Err(Error::Wrong("the filling child ended early; see above".to_owned())),
            Err(error) => break Err(error),
        }
    };
    // SIGKILL, in the middle of further PUTs.
    child.process.kill().map_err(doing("kill the filling child"))?;
    child.process.wait().map_err(doing("wait for the killed child"))?;
    filled
}

fn opened(cli: &Cli, engine: Engine, folder: &Path) -> Result<Opened> {
    let mut child = start(cli, engine, folder, Phase::Open)?;
    let said = hear(&mut child)?;
    let status = child.process.wait().map_err(doing("wait for a child"))?;
    match said {
        Some(Said::Opened(opened)) if status.success() => Ok(opened),
        _ => Err(Error::Wrong(format!("the opening child failed ({status}); see above"))),
    }
}

struct Running {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

fn start(cli: &Cli, engine: Engine, folder: &Path, phase: Phase) -> Result<Running> {
    let program = std::env::current_exe().map_err(doing("find this program"))?;
    let mut command = Command::new(program);
    command.args(["--phase", if phase == Phase::Fill { "fill" } else { "open" }]);
    command.args(["--engine", engine.name()]).arg("--folder").arg(folder);
    command.args(["--objects", &cli.objects.to_string()]);
    command.args(["--body-bytes", &cli.body_bytes.to_string(), "--writers", &cli.writers.to_string()]);
    if cli.keep_journal {
        command.arg("--keep-journal");
    }
    let mut process = command.stdout(Stdio::piped()).spawn().map_err(doing("start a child"))?;
    let lines = process.stdout.take().ok_or_else(|| Error::Wrong("a child without output".to_owned()))?;
    Ok(Running { process, lines: BufReader::new(lines) })
}

/// The child's next line; `None` when it says no more.
fn hear(child: &mut Running) -> Result<Option<Said>> {
    let mut line = String::new();
    let read = child.lines.read_line(&mut line).map_err(doing("read from a child"))?;
    if read == 0 { Ok(None) } else { Ok(Some(serde_json::from_str(&line)?)) }
}

fn child(cli: &Cli, phase: Phase) -> Result<()> {
    let engine = cli.engine.engines()[0];
    let folder = cli.folder.clone().unwrap_or_default();
    let args = ChildArgs {
        folder,
        engine,
        objects: cli.objects,
        body_bytes: cli.body_bytes,
        writers: cli.writers.max(1),
        keep_journal: cli.keep_journal,
    };
    let say = |said: &Said| {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line).and_then(|()| out.flush()).map_err(doing("speak to the parent"))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .map_err(doing("start a runtime"))?;
    match phase {
        Phase::Fill => runtime.block_on(fill::fill(&args, say)),
        Phase::Open => runtime.block_on(open::open(&args, say)),
    }
}
