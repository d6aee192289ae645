//! Streams that outlive their connections.
//!
//! A watch has no end, but its connections do: servers are restarted, networks fail. [`resuming`] opens a stream again
//! where it broke off, with the resume token of the last message that was taken from it, so that nothing is lost and
//! nothing comes twice.
//!
//! Two things to know. A snapshot that breaks off begins anew, so its items may come again, as they stand then. And a
//! stream that starts with `now` and breaks before its first message starts at a later now; the server's first message
//! comes at once, so that this gap is as short as opening the stream.

use std::future::Future;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::clients::{ClockClient, DecisionClient, ReferralClient, ReportingClient};
use crate::common::v1::{WatchStart, watch_start};
use crate::decision::v1::{
    WatchCasesRequest, WatchCasesResponse, WatchClocksRequest, WatchClocksResponse, WatchDecisionsRequest,
    WatchDecisionsResponse, case_change, decision_change,
};
use crate::referral::v1::{WatchReferralsRequest, WatchReferralsResponse, referral_change};
use crate::reporting::v1::{WatchReportRequest, WatchReportResponse, watch_report_request};

/// How long to wait before a stream is opened again: twice as long after each failure in a row, a random part of it
/// less, and never less than the server asks for.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Failures in a row after which the error is passed on. `None` never gives up.
    pub give_up_after: Option<u32>,
    /// Spreads clients that lost the same server at the same time: give each its own number.
    pub seed: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(10), give_up_after: None, seed: 0 }
    }
}

impl Backoff {
    /// The wait after so many failures in a row, counted from 1: between half of the full wait and all of it.
    fn wait(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let full = self.first.saturating_mul(doubled).min(self.longest);
        // SplitMix64: any fixed mixing will do, as long as clients differ.
        let mut mixed = self.seed.wrapping_add(u64::from(failures).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = u32::try_from((mixed ^ (mixed >> 31)) % 1_000).unwrap_or(0);
        full / 2 + full.saturating_mul(part) / 2_000
    }
}

/// A message of a stream that can be resumed.
pub trait Resumable {
    /// The token that resumes the stream after this message. `None` where it cannot be resumed: within a snapshot.
    fn resume_after(&self) -> Option<&str>;
}

macro_rules! resumable {
    ($response:ty, $snapshot:pat) => {
        impl Resumable for $response {
            fn resume_after(&self) -> Option<&str> {
                let in_snapshot = !self.snapshot_complete
                    && self.changes.iter().any(|change| matches!(&change.change, Some($snapshot)));
                (!in_snapshot && !self.resume_token.is_empty()).then_some(self.resume_token.as_str())
            }
        }
    };
}

resumable!(
    WatchReferralsResponse,
    referral_change::Change::Snapshot(_)
        | referral_change::Change::OrganisationSnapshot(_)
        | referral_change::Change::AgreementSnapshot(_)
);
resumable!(WatchCasesResponse, case_change::Change::Snapshot(_));
resumable!(WatchDecisionsResponse, decision_change::Change::Snapshot(_));

impl Resumable for WatchClocksResponse {
    fn resume_after(&self) -> Option<&str> {
        let in_snapshot = !self.snapshot_complete && self.changes.iter().any(|change| change.snapshot);
        (!in_snapshot && !self.resume_token.is_empty()).then_some(self.resume_token.as_str())
    }
}

impl Resumable for WatchReportResponse {
    fn resume_after(&self) -> Option<&str> {
        (!self.resume_token.is_empty()).then_some(self.resume_token.as_str())
    }
}

/// Whether opening the stream again may help: the server cannot serve now, or says when to come back, or the connection
/// failed. A refusal (a foreign token, say) is not cured by repeating it.
pub fn is_retryable(status: &Status) -> bool {
    // A status that a server sent has no source; one that was made here for a broken connection has.
    status.code() == Code::Unavailable
        || std::error::Error::source(status).is_some()
        || status.get_details_retry_info().is_some()
}

struct Watch<Open, S> {
    open: Open,
    stream: Option<S>,
    token: Option<String>,
    failures: u32,
    backoff: Backoff,
    over: bool,
}

/// The messages of a stream that is opened again whenever it breaks. Ends only with an error that repeating cannot cure,
/// which it passes on.
///
/// `open` opens the stream: after the token if there is one, else from the start that the caller wants.
pub fn resuming<M, S, Open, Opening>(open: Open, backoff: Backoff) -> impl Stream<Item = Result<M, Status>>
where
    M: Resumable,
    S: Stream<Item = Result<M, Status>> + Unpin,
    Open: FnMut(Option<String>) -> Opening,
    Opening: Future<Output = Result<Response<S>, Status>>,
{
    let watch = Watch { open, stream: None, token: None, failures: 0, backoff, over: false };
    stream::unfold(watch, |mut watch| async move {
        loop {
            if watch.over {
                return None;
            }
            let failure = match &mut watch.stream {
                None => match (watch.open)(watch.token.clone()).await {
                    Ok(opened) => {
                        watch.stream = Some(opened.into_inner());
                        continue;
                    }
                    Err(status) => status,
                },
                Some(stream) => match stream.next().await {
                    Some(Ok(message)) => {
                        watch.failures = 0;
                        if let Some(token) = message.resume_after() {
                            watch.token = Some(token.to_owned());
                        }
                        return Some((Ok(message), watch));
                    }
                    Some(Err(status)) => status,
                    // A watch has no end of its own, so somebody between here and the server closed it.
                    None => Status::unavailable("the stream ended"),
                },
            };
            watch.stream = None;
            watch.failures = watch.failures.saturating_add(1);
            let exhausted = watch.backoff.give_up_after.is_some_and(|most| watch.failures > most);
            if exhausted || !is_retryable(&failure) {
                watch.over = true;
                return Some((Err(failure), watch));
            }
            let asked = failure.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
            tokio::time::sleep(watch.backoff.wait(watch.failures).max(asked)).await;
        }
    })
}

/// A start after a token.
fn after(token: String) -> WatchStart {
    WatchStart { start: Some(watch_start::Start::ResumeToken(token)) }
}

macro_rules! watches {
    ($($(#[$doc:meta])* $name:ident: $client:ty, $request:ty => $response:ty, $call:ident, $resume:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(
            client: $client,
            request: $request,
            backoff: Backoff,
        ) -> impl Stream<Item = Result<$response, Status>> + Send {
            let resume: fn(&mut $request, String) = $resume;
            resuming(
                move |token| {
                    let (mut client, mut request) = (client.clone(), request.clone());
                    if let Some(token) = token {
                        resume(&mut request, token);
                    }
                    async move { client.$call(request).await }
                },
                backoff,
            )
        }
    )*};
}

watches! {
    /// Watches the referral log.
    referrals: ReferralClient, WatchReferralsRequest => WatchReferralsResponse, watch_referrals,
        |request, token| request.start = Some(after(token));
    /// Watches cases.
    cases: DecisionClient, WatchCasesRequest => WatchCasesResponse, watch_cases,
        |request, token| request.start = Some(after(token));
    /// Watches decisions.
    decisions: DecisionClient, WatchDecisionsRequest => WatchDecisionsResponse, watch_decisions,
        |request, token| request.start = Some(after(token));
    /// Watches what happens to clocks.
    clocks: ClockClient, WatchClocksRequest => WatchClocksResponse, watch_clocks,
        |request, token| request.start = Some(after(token));
    /// Watches a report.
    report: ReportingClient, WatchReportRequest => WatchReportResponse, watch_report,
        |request, token| request.start = Some(watch_report_request::Start::ResumeToken(token));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unnecessary_wraps, reason = "scripts of results read better when every step makes one")]
    use std::collections::VecDeque;

    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;
    use crate::referral::v1::{Referral, ReferralChange};

    type Script = Vec<Result<Vec<Result<WatchReferralsResponse, Status>>, Status>>;

    fn message(token: &str) -> Result<WatchReferralsResponse, Status> {
        Ok(WatchReferralsResponse { resume_token: token.to_owned(), ..WatchReferralsResponse::default() })
    }

    fn snapshot(token: &str, complete: bool) -> Result<WatchReferralsResponse, Status> {
        let change = Some(referral_change::Change::Snapshot(Referral::default()));
        Ok(WatchReferralsResponse {
            changes: vec![ReferralChange { change, ..ReferralChange::default() }],
            resume_token: token.to_owned(),
            snapshot_complete: complete,
            ..WatchReferralsResponse::default()
        })
    }

    /// Plays what a server answers to each opening; returns the tokens received, the last error, and the tokens asked for.
    async fn play(script: Script, backoff: Backoff) -> (Vec<String>, Option<Status>, Vec<Option<String>>) {
        let mut script = VecDeque::from(script);
        let mut asked = Vec::new();
        let (mut received, mut last) = (Vec::new(), None);
        {
            let open = |token: Option<String>| {
                asked.push(token);
                let next = script.pop_front().unwrap_or_else(|| Err(Status::permission_denied("the script is over")));
                async move { next.map(|messages| Response::new(stream::iter(messages))) }
            };
            let watch = resuming(open, backoff);
            let mut watch = std::pin::pin!(watch);
            while let Some(next) = watch.next().await {
                match next {
                    Ok(message) => received.push(message.resume_token),
                    Err(status) => last = Some(status),
                }
            }
        }
        (received, last, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_stream_goes_on_after_the_last_message() {
        let (received, last, asked) = play(
            vec![
                Err(Status::unavailable("starting")),
                Ok(vec![message("1"), message("2"), Err(Status::unavailable("draining"))]),
                Ok(vec![]),
                Ok(vec![message("3"), Err(Status::from_error(Box::new(std::io::Error::other("reset"))))]),
            ],
            Backoff::default(),
        )
        .await;
        assert_eq!(received, ["1", "2", "3"]);
        assert_eq!(last.unwrap().code(), Code::PermissionDenied);
        let two = Some("2".to_owned());
        assert_eq!(asked, [None, None, two.clone(), two, Some("3".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_ends_it() {
        let refused = Status::invalid_argument("foreign token");
        let (received, last, asked) = play(vec![Ok(vec![message("1"), Err(refused)])], Backoff::default()).await;
        assert_eq!((received.len(), asked.len()), (1, 1));
        assert_eq!(last.unwrap().code(), Code::InvalidArgument);
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_breaks_off_begins_anew() {
        let broken = || Err(Status::unavailable("draining"));
        let (_, _, asked) = play(
            vec![
                Ok(vec![snapshot("s1", false), broken()]),
                Ok(vec![snapshot("s1", false), snapshot("s2", true), broken()]),
                Ok(vec![]),
            ],
            Backoff { give_up_after: Some(1), ..Backoff::default() },
        )
        .await;
        assert_eq!(asked, [None, None, Some("s2".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_as_long_as_the_server_asks_and_gives_up_when_told_to() {
        let overloaded = || {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_mins(1)));
            Err(Status::with_error_details(Code::ResourceExhausted, "busy", details))
        };
        let begun = tokio::time::Instant::now();
        let backoff = Backoff { give_up_after: Some(2), ..Backoff::default() };
        let (_, last, asked) = play(vec![overloaded(), overloaded(), overloaded()], backoff).await;
        assert_eq!(asked.len(), 3);
        assert_eq!(last.unwrap().code(), Code::ResourceExhausted);
        assert_eq!(begun.elapsed().as_secs(), 120);
    }

    #[test]
    fn waits_double_up_to_the_longest_and_differ_by_seed() {
        let backoff = Backoff::default();
        for failures in 1..200 {
            let full = Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(failures - 1));
            let full = full.min(Duration::from_secs(10));
            let wait = backoff.wait(failures);
            assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?} of {full:?}");
        }
        assert_ne!(backoff.wait(5), Backoff { seed: 1, ..backoff }.wait(5));
    }
}
