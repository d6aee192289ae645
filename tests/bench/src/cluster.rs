//! A Postgres server to measure on: the one named, or a private one that is gone afterwards.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::Options;

/// The owner of a private server when this process is root's: Postgres refuses to run as root.
const OWNER: &str = "postgres";

/// The server.
pub(crate) struct Cluster {
    url: String,
    private: Option<Private>,
}

impl Cluster {
    /// The server that the options ask for. None if they want none.
    pub(crate) fn of(options: &Options) -> Result<Option<Self>> {
        if options.no_postgres {
            return Ok(None);
        }
        if let Some(url) = &options.postgres {
            return Ok(Some(Self { url: url.clone(), private: None }));
        }
        let private = Private::start(options)?;
        let url = format!("postgres://portreeve@127.0.0.1:{}/postgres", private.port);
        Ok(Some(Self { url, private: Some(private) }))
    }

    /// Makes an empty database; gives its URL.
    pub(crate) async fn database(&self, name: &str) -> Result<String> {
        let mut connection = PgConnection::connect(&self.url).await.context("cannot connect to Postgres")?;
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        connection.close().await?;
        let (server, _) = self.url.rsplit_once('/').context("the Postgres URL names no database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Drops a database that was made here.
    pub(crate) async fn drop_database(&self, url: &str) -> Result<()> {
        let name = url.rsplit('/').next().unwrap_or_default();
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
        connection.close().await?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(private) = self.private.take() {
            // Whatever is left of it is in a folder that goes too.
            let _ = private.control(&["-m", "immediate", "stop"]);
        }
    }
}

struct Private {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    as_owner: bool,
}

impl Private {
    fn start(options: &Options) -> Result<Self> {
        let programs = programs().context("Postgres's server programs are not installed (Debian: postgresql)")?;
        let folder = options.scratch()?;
        let as_owner = output(Command::new("id").arg("-u"))?.trim() == "0";
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let private = Self { programs, folder, port, as_owner };
        if as_owner {
            output(Command::new("chown").arg(format!("{OWNER}:{OWNER}")).arg(private.folder.path()))?;
        }
        let data = private.data();
        let initdb =
            private.command("initdb", &["-U", "portreeve", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]);
        output({ initdb }.arg("-D").arg(&data))?;
        let settings = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c shared_buffers=256MB \
             -c max_wal_size=4GB",
            private.folder.path().display()
        );
        let log = private.folder.path().join("log").display().to_string();
        private.control(&["-w", "-l", &log, "-o", &settings, "start"])?;
        Ok(private)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("pg_ctl", &["-s", "-D"]);
        command.arg(self.data()).args(arguments);
        // The server would hold a pipe open for as long as it runs.
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "pg_ctl {arguments:?} failed");
        Ok(())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let program = self.programs.join(program);
        let mut command = if self.as_owner {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={OWNER}"), &format!("--regid={OWNER}"), "--init-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).current_dir("/");
        command
    }
}

/// The folder of the newest server programs, as Debian installs them.
fn programs() -> Option<PathBuf> {
    let installed = std::fs::read_dir(Path::new("/usr/lib/postgresql")).ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = installed.flatten().map(|entry| entry.path()).filter_map(|path| Some((version(&path)?, path)));
    let (_, newest) = folders.max()?;
    Some(newest.join("bin")).filter(|programs| programs.join("initdb").exists())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}
