//! Which engine, and where.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use portreeve_core::{Error, Ledger, Reason, Result};

use crate::{EventLog, Writer};

/// Where a suite keeps its data.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A folder with one SQLite file per service.
    Sqlite {
        /// The folder; made if it does not exist.
        folder: PathBuf,
    },
    /// One Postgres database with a schema per service.
    Postgres {
        /// A connection URL; may hold a password and is never printed.
        url: String,
    },
}

impl FromStr for Database {
    type Err = Error;

    /// Reads `sqlite:FOLDER` or `postgres://…`.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(folder) = text.strip_prefix("sqlite:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Sqlite { folder: folder.into() });
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres { url: text.to_owned() });
        }
        Err(Error::new(Reason::RequestInvalid, "the database must be sqlite:FOLDER or postgres://USER@HOST/NAME"))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { folder } => write!(f, "sqlite:{}", folder.display()),
            Self::Postgres { url } => {
                let tail = url.rsplit_once('@').map_or("…", |(_, tail)| tail);
                write!(f, "postgres://…@{}", tail.split('?').next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What opening a service's data gives: the way in, the log, and the service's own reads.
pub struct Parts<L: Ledger, R: ?Sized> {
    /// The only way to write.
    pub writer: Writer<L>,
    /// The service's log.
    pub log: Arc<dyn EventLog>,
    /// The service's reads and its maintenance.
    pub reads: Arc<R>,
}

impl<L: Ledger, R: ?Sized> Clone for Parts<L, R> {
    fn clone(&self) -> Self {
        Self { writer: self.writer.clone(), log: Arc::clone(&self.log), reads: Arc::clone(&self.reads) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let database: Result<Database> = "postgres://u:secret@db.example/portreeve?options=x".parse();
        assert_eq!(
            database.map(|d| format!("{d} {d:?}")),
            Ok("postgres://…@db.example/portreeve ".repeat(2).trim().into())
        );
        assert!("mysql://x".parse::<Database>().is_err());
        assert!("sqlite:".parse::<Database>().is_err());
    }
}
