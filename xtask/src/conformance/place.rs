//! A folder of its own, and servers that end with it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::run::Result;

/// Size of the images in bytes.
pub const SIZE: u64 = 64 << 20;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Where a step works.
pub struct Place {
    folder: PathBuf,
    server: PathBuf,
    children: RefCell<Vec<Child>>,
}

impl Place {
    /// An empty folder.
    pub fn new(server: &Path) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("nbd-conformance-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(Self { folder, server: server.to_path_buf(), children: RefCell::default() })
    }
    /// A path in the folder, as text.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }
    /// The server's program.
    pub fn server(&self) -> String {
        self.server.to_string_lossy().into_owned()
    }
    /// A sparse file.
    pub fn sparse(&self, name: &str) -> Result<String> {
        let file = File::create(self.path(name)).map_err(|error| error.to_string())?;
        file.set_len(SIZE).map_err(|error| error.to_string())?;
        Ok(self.path(name))
    }
    /// An image with data, holes and written zeroes.
    pub fn image(&self, name: &str) -> Result<String> {
        let path = self.sparse(name)?;
        let mut random = vec![0; 5 << 20];
        let failed = |error: std::io::Error| error.to_string();
        File::open("/dev/urandom").map_err(failed)?.read_exact(&mut random).map_err(failed)?;
        let file = File::options().write(true).open(&path).map_err(failed)?;
        for (offset, len) in [(0, 512), (1 << 20, 5 << 20), (20 << 20, 3_000_001), (SIZE - 4096, 4096)] {
            std::os::unix::fs::FileExt::write_all_at(&file, &random[..len], offset).map_err(failed)?;
        }
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; 1 << 20], 40 << 20).map_err(failed)?;
        Ok(path)
    }
    /// Serves on a unix socket and returns its URI.
    pub fn serve(&self, args: &[&str]) -> Result<String> {
        let socket = self.path("socket");
        self.start(&[&["--unix", &socket], args].concat())?;
        Ok(format!("nbd+unix:///?socket={socket}"))
    }
    /// Serves on a free TCP port of this machine and returns the port.
    pub fn serve_tcp(&self, args: &[&str]) -> Result<String> {
        let lines = self.start(&[&["--tcp", "127.0.0.1:0"], args].concat())?;
        let port = lines.iter().find_map(|line| line.rsplit_once(':')).map(|(_, port)| port.to_owned());
        port.ok_or_else(|| format!("the server says no port: {lines:?}"))
    }
    fn start(&self, args: &[&str]) -> Result<Vec<String>> {
        let mut command = Command::new(&self.server);
        command.args(args).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", self.server()))?;
        let mut lines = Vec::new();
        let output = child.stdout.take().ok_or("no output")?;
        self.children.borrow_mut().push(child);
        for line in BufReader::new(output).lines() {
            let line = line.map_err(|error| error.to_string())?;
            if line == "ready" {
                return Ok(lines);
            }
            lines.push(line);
        }
        Err(format!("the server ended at once: {lines:?}"))
    }
    /// SIGKILL for every server that was started here.
    pub fn kill(&self) {
        for mut child in self.children.borrow_mut().drain(..) {
            // One that has ended by itself is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    /// Two files have the same bytes.
    pub fn same(&self, one: &str, two: &str) -> Result<()> {
        self.run("cmp", &[one, two]).map(|_| ())
    }
    /// Runs a program to its end; its output when it succeeds, all of it as an error when not.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        self.run_with(program, args, "")
    }
    /// The same with something to read.
    pub fn run_with(&self, program: &str, args: &[&str], input: &str) -> Result<String> {
        // No client may hang a run for ever.
        let mut command = Command::new("timeout");
        command.arg("120").arg(program).args(args).current_dir(&self.folder);
        // The system's own Python knows the system's libnbd.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("/usr/bin:/bin:{path}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: std::io::Error| format!("{program}: {error}");
        let mut child = command.spawn().map_err(failed)?;
        child.stdin.take().ok_or("no input")?.write_all(input.as_bytes()).map_err(failed)?;
        let output = child.wait_with_output().map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        Err(format!(
            "{program} {}: {}\n{text}{}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
