//! What stands between a read and its reader: the access log, which is told before anything is shown.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::Result;
use portreeve_core::consultation::{Reading, Shown, Statement};
use tonic::Request;

use crate::layers::methods::Method;
use crate::layers::request_id::REQUEST_ID;
use crate::wire::principal;

/// The access log of one service.
#[async_trait]
pub trait AccessLog: Send + Sync + 'static {
    /// Refuses a reading that the server's policy does not let happen. Asked before anything is read.
    fn check(&self, reading: &Reading) -> Result<()>;

    /// Returns when it is durable that this was shown. Fails if it cannot be recorded: then it must not be shown.
    async fn record(&self, reading: &Reading, shown: Vec<Shown>) -> Result<()>;
}

/// The call as its record will have it: who reads, by which method, and why.
pub fn reading<T>(request: &Request<T>) -> Result<Reading> {
    let extensions = request.extensions();
    let method = extensions.get::<Arc<Method>>();
    let id = request.metadata().get(REQUEST_ID.as_str()).and_then(|id| id.to_str().ok());
    Ok(Reading {
        principal: principal(request)?,
        method: method.map(|method| format!("{}/{}", method.service, method.name)).unwrap_or_default(),
        request_id: id.unwrap_or_default().to_owned(),
        statement: extensions.get::<Statement>().cloned().unwrap_or_default(),
    })
}
