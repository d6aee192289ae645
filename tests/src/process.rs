//! The real binary, run as a process of its own: started, waited for by what it says, killed, told to end.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How long a server may take to say that it listens. The machine may be busy with other tests.
const READY: Duration = Duration::from_mins(1);

/// The binary, built as the tests are if it is not up to date.
pub fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "--quiet", "--package", "portreeve", "--bin", "portreeve", "--message-format=json"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // What a test's own process is told of its package has build scripts run again, and all that stands on them built again.
    for (key, _) in std::env::vars_os().filter(|(key, _)| {
        let key = key.to_string_lossy();
        key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")
    }) {
        command.env_remove(key);
    }
    let output = command.current_dir(root()).stderr(Stdio::inherit()).output().context("cargo does not run")?;
    if !output.status.success() {
        bail!("the binary does not build");
    }
    let messages = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for message in messages {
        let message: serde_json::Value = serde_json::from_slice(message)?;
        if let (Some("portreeve"), Some(path)) = (message["target"]["name"].as_str(), message["executable"].as_str()) {
            return Ok(path.into());
        }
    }
    bail!("cargo did not say where the binary is")
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A port on loopback that was free a moment ago, for a server that must come back at the same address.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Runs `portreeve` with arguments in a folder to its end, with nothing in its environment; gives its exit code, and what it
/// said on both of its outputs.
pub fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(binary().unwrap());
    let output = command.args(arguments).env_clear().current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

/// A process of the binary; killed when dropped. It inherits nothing but where programs are found: what the tests are
/// configured with must not configure it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    lines: watch::Receiver<usize>,
}

impl Process {
    /// Starts `portreeve` with arguments and environment, in a folder.
    pub fn start<A, E, K, V>(arguments: A, environment: E, folder: &Path) -> Result<Self>
    where
        A: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
        E: IntoIterator<Item = (K, V)>,
        K: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        let mut child = Command::new(binary()?)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the binary does not start")?;
        let said = Arc::default();
        let (count, lines) = watch::channel(0);
        listen(child.stdout.take(), Arc::clone(&said), count.clone());
        listen(child.stderr.take(), Arc::clone(&said), count);
        Ok(Self { child, said, lines })
    }

    /// What it has said so far, on both of its outputs.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it says that it listens; gives its address.
    pub async fn listens(&mut self) -> Result<SocketAddr> {
        let address = |said: &str| -> Option<SocketAddr> {
            let (_, rest) = said.split_once(" listens at http")?;
            rest.trim_start_matches('s').trim_start_matches("://").split_whitespace().next()?.parse().ok()
        };
        let mut lines = self.lines.clone();
        let heard = tokio::time::timeout(READY, async {
            loop {
                lines.borrow_and_update();
                if let Some(address) = address(&self.said()) {
                    return Some(address);
                }
                lines.changed().await.ok()?;
            }
        });
        match heard.await {
            Ok(Some(address)) => Ok(address),
            _ => bail!("the server does not say that it listens:\n{}", self.said()),
        }
    }

    /// Its number, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it at once, as SIGKILL does: it has no chance to put anything in order.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("the server does not die")
    }

    /// Tells it to end.
    pub fn terminate(&self) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("it has ended already")?;
        kill_process(pid, Signal::TERM).context("the server cannot be told to end")
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Waits until both of its outputs were read to their ends; gives what it said.
    pub async fn all_said(&mut self) -> String {
        while self.lines.changed().await.is_ok() {}
        self.said()
    }

    /// Waits until it says something.
    pub async fn says(&mut self, what: &str) -> Result<()> {
        while !self.said().contains(what) {
            if self.lines.changed().await.is_err() && !self.said().contains(what) {
                bail!("it ended without a word of {what:?}:\n{}", self.said());
            }
        }
        Ok(())
    }

    /// Waits for its end, which must be a success; gives what it said.
    pub async fn succeeds(mut self) -> Result<String> {
        let status = self.child.wait().await?;
        let said = self.all_said().await;
        if !status.success() {
            bail!("it ended with {status}:\n{said}");
        }
        Ok(said)
    }
}

fn listen(
    output: Option<impl AsyncRead + Unpin + Send + 'static>,
    said: Arc<Mutex<String>>,
    count: watch::Sender<usize>,
) {
    let Some(output) = output else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = writeln!(said.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
            count.send_modify(|count| *count += 1);
        }
    });
}
