//! The streams: what they show, to whom, and how they go on.

use std::time::Duration;

use portreeve_api::common::v1::{Disposition, WatchStart, watch_start};
use portreeve_api::decision::v1 as wire;
use portreeve_storage::Database;
use wire::case_change::Change;

use crate::support::{
    Running, acknowledge, again, at, case, catalogue, closed, on_both_engines, permitted, record, referred, refusal,
    withdrawn,
};

on_both_engines!(
    changes_tell_where_a_case_stood_and_stands,
    a_snapshot_is_followed_by_what_came_after,
    twins_share_tokens
);

/// Two cases of `nca` and one of `bka`, decided, amended and withdrawn. Fourteen events.
async fn history(running: &Running) {
    let mut decisions = running.decisions("platforms/hb");
    catalogue(running).await;
    let mut third = referred(3, 3);
    third.referred.name.agency = "bka".into();
    running.told(0, vec![referred(1, 1), referred(2, 2), third]).await;
    decisions.acknowledge_cases(acknowledge(&[1, 2, 3], 1)).await.unwrap();
    running.clock.set(at(200));
    decisions.record_decision(record(1, permitted(1), 2)).await.unwrap();
    decisions.record_decision(record(3, closed(), 3)).await.unwrap();
    running.clock.set(at(300));
    decisions.record_decision(record(1, again(wire::DecisionKind::Reversed, closed()), 4)).await.unwrap();
    running.told(3, vec![withdrawn(referred(2, 2), 4)]).await;
    running.told(4, vec![withdrawn(referred(1, 1), 5)]).await;
}

#[expect(clippy::unnecessary_wraps, reason = "as the message wants it")]
fn from(start: watch_start::Start) -> Option<WatchStart> {
    Some(WatchStart { start: Some(start) })
}

fn watch(parent: &str, start: watch_start::Start) -> wire::WatchCasesRequest {
    wire::WatchCasesRequest { parent: parent.into(), start: from(start), ..wire::WatchCasesRequest::default() }
}

/// The changes of a stream until a checkpoint or nothing more comes, and the last token.
async fn drain(mut stream: tonic::Streaming<wire::WatchCasesResponse>) -> (Vec<wire::CaseChange>, String, bool) {
    let (mut changes, mut token, mut complete) = (Vec::new(), String::new(), false);
    while let Ok(message) = tokio::time::timeout(Duration::from_millis(300), stream.message()).await {
        let message = message.unwrap().unwrap();
        changes.extend(message.changes);
        token = message.resume_token;
        complete |= message.snapshot_complete;
    }
    (changes, token, complete)
}

fn kind(change: &wire::CaseChange) -> &'static str {
    match change.change.as_ref().unwrap() {
        Change::Opened(_) => "opened",
        Change::Acknowledged(_) => "acknowledged",
        Change::Decided(_) => "decided",
        Change::Withdrawn(_) => "withdrawn",
        Change::Snapshot(_) => "snapshot",
        Change::Erased(_) => "erased",
        Change::ReplayChanged(_) => "replay",
        Change::ChallengeChanged(_) => "challenge",
        Change::Observed(_) => "observed",
        Change::StayChanged(_) => "stay",
        Change::ClockMarked(_) => "clock",
        Change::ReviewChanged(_) => "review",
        Change::Escalated(_) => "escalated",
        Change::Prioritised(_) => "prioritised",
        Change::NonDisclosureChanged(_) => "non-disclosure",
        Change::ClauseCreated(_)
        | Change::ClauseVersionAdded(_)
        | Change::AgreementLearnt(_)
        | Change::ResponseTimesSet(_) => "catalogue",
    }
}

async fn changes_tell_where_a_case_stood_and_stands(database: Database) {
    let running = Running::open(&database, 100).await;
    history(&running).await;
    let earliest = watch_start::Start::Earliest(true);
    let mut reporting = running.decisions("services/reporting");
    let stream = reporting.watch_cases(watch("platforms/-", earliest.clone())).await.unwrap().into_inner();
    let (changes, ..) = drain(stream).await;
    assert_eq!(changes.iter().map(|change| change.position).collect::<Vec<_>>(), (1..=14).collect::<Vec<_>>());

    // What one change leaves is what the one before it entered: the figures are a fold of the changes.
    let mut standing = std::collections::HashMap::new();
    for change in &changes {
        let Some(Change::Opened(case) | Change::Acknowledged(case) | Change::Decided(case) | Change::Withdrawn(case)) =
            &change.change
        else {
            continue;
        };
        let before = standing.insert(case.name.clone(), change.after).unwrap_or_default();
        assert_eq!((change.before, change.after), (before, case.disposition), "{change:?}");
        assert_eq!(change.revision, case.revision);
        let agency_acts = matches!(change.change, Some(Change::Opened(_) | Change::Withdrawn(_)));
        assert_eq!(&change.actor, if agency_acts { &case.agency } else { &case.platform });
        assert_eq!(change.member, "", "a member is its organisation's business");
    }
    let reversed = changes.iter().find(|change| change.position == 12).unwrap();
    assert_eq!((reversed.before(), reversed.after()), (Disposition::PermittedByPolicy, Disposition::Closed));
    assert_eq!(reversed.clause_before, "platforms/hb/clauses/he-7@1");
    assert_eq!(reversed.referral_position, 3);
    assert_eq!(changes.last().unwrap().referral_position, 5);

    for (reader, parent, expected) in [
        ("agencies/bka", "platforms/-", "catalogue catalogue catalogue opened acknowledged decided"),
        ("agencies/bka", "platforms/chirrup", ""),
        ("platforms/chirrup", "platforms/-", "catalogue catalogue catalogue"),
    ] {
        let stream = running.decisions(reader).watch_cases(watch(parent, earliest.clone())).await.unwrap().into_inner();
        let (seen, ..) = drain(stream).await;
        assert_eq!(seen.iter().map(kind).collect::<Vec<_>>().join(" "), expected, "{reader} {parent}");
    }
    let stream = running.decisions("platforms/hb").watch_cases(watch("platforms/hb", earliest.clone())).await.unwrap();
    let (own, ..) = drain(stream.into_inner()).await;
    let members = own.iter().filter(|change| change.actor == "platforms/hb").map(|change| change.member.as_str());
    assert!(members.eq(std::iter::repeat_n("j.doe", 3 + 3 + 3)));

    let filter = wire::CaseFilter { statuses: vec![wire::CaseStatus::Decided.into()], ..wire::CaseFilter::default() };
    let filtered = wire::WatchCasesRequest { filter: Some(filter), ..watch("platforms/-", earliest.clone()) };
    let (seen, ..) = drain(reporting.watch_cases(filtered).await.unwrap().into_inner()).await;
    assert_eq!(seen.iter().map(kind).collect::<Vec<_>>(), ["decided"; 3]);

    for (reader, parent) in [("platforms/chirrup", "platforms/hb"), ("operators/op", "platforms/-")] {
        let refused = running.decisions(reader).watch_cases(watch(parent, earliest.clone())).await.unwrap_err();
        assert_eq!(refusal(&refused).0, "PERMISSION_DENIED");
    }
    let unset = wire::WatchCasesRequest { start: None, ..watch("platforms/-", earliest) };
    assert_eq!(refusal(&reporting.watch_cases(unset).await.unwrap_err()).1, ["start"]);
    drop(reporting);
    running.stop().await;
}

async fn a_snapshot_is_followed_by_what_came_after(database: Database) {
    let running = Running::open(&database, 100).await;
    history(&running).await;
    let mut reader = running.decisions("agencies/nca");
    let snapshot = watch("platforms/-", watch_start::Start::Snapshot(true));
    let stream = reader.watch_cases(snapshot).await.unwrap().into_inner();
    let (changes, token, complete) = drain(stream).await;
    assert!(complete);
    assert_eq!(changes.iter().map(kind).collect::<Vec<_>>(), ["snapshot"; 2]);
    assert!(changes.iter().all(|change| change.position == 14 && change.after() == Disposition::Withdrawn));

    running.told(5, vec![referred(4, 6)]).await;
    let go_on = watch("platforms/-", watch_start::Start::ResumeToken(token.clone()));
    let (changes, ..) = drain(reader.watch_cases(go_on).await.unwrap().into_inner()).await;
    assert_eq!(changes.iter().map(kind).collect::<Vec<_>>(), ["opened"]);
    let other = watch("platforms/hb", watch_start::Start::ResumeToken(token));
    assert_eq!(refusal(&reader.watch_cases(other).await.unwrap_err()).0, "RESUME_FILTER_CHANGED");

    // Decisions: the latest of each case, then each as it is recorded.
    let mut reporting = running.decisions("services/reporting");
    let watch = |start| wire::WatchDecisionsRequest {
        parent: "platforms/hb".into(),
        start: from(start),
        ..wire::WatchDecisionsRequest::default()
    };
    for (start, expected) in [
        (watch_start::Start::Earliest(true), vec![(1, 10), (1, 11), (2, 12)]),
        (watch_start::Start::Snapshot(true), vec![(1, 15), (2, 15)]),
    ] {
        let mut stream = reporting.watch_decisions(watch(start)).await.unwrap().into_inner();
        let mut seen = Vec::new();
        while let Ok(message) = tokio::time::timeout(Duration::from_millis(300), stream.message()).await {
            seen.extend(message.unwrap().unwrap().changes);
        }
        let seen = seen.iter().map(|change| match change.change.as_ref().unwrap() {
            wire::decision_change::Change::Recorded(decision) | wire::decision_change::Change::Snapshot(decision) => {
                (decision.version, change.position)
            }
        });
        assert_eq!(seen.collect::<Vec<_>>(), expected);
    }
    drop((reader, reporting));
    running.stop().await;
}

async fn twins_share_tokens(database: Database) {
    use wire::list_case_changes_request::Start;
    let running = Running::open(&database, 100).await;
    history(&running).await;
    let mut reader = running.decisions("services/reporting");
    let ask = |start, page_size| wire::ListCaseChangesRequest {
        parent: "platforms/hb".into(),
        start: Some(start),
        page_size,
        ..wire::ListCaseChangesRequest::default()
    };
    let first = reader.list_case_changes(ask(Start::Earliest(true), 5)).await.unwrap().into_inner();
    assert_eq!((first.changes.len(), first.caught_up), (5, false));
    let rest = watch("platforms/hb", watch_start::Start::ResumeToken(first.resume_token.clone()));
    let (changes, token, _) = drain(reader.watch_cases(rest).await.unwrap().into_inner()).await;
    assert_eq!(changes.first().map(|change| change.position), Some(6));
    let last = reader.list_case_changes(ask(Start::ResumeToken(token), 5)).await.unwrap().into_inner();
    assert_eq!((last.changes.len(), last.caught_up), (0, true));
    assert_eq!(last.progress.unwrap().revisions.len(), 2, "of its own log and of the one it follows");
    assert_eq!(
        refusal(&reader.list_case_changes(ask(Start::Earliest(false), 5)).await.unwrap_err()).0,
        "REQUEST_INVALID"
    );

    running.service.reads().compact(10).await.unwrap();
    let old = ask(Start::ResumeToken(first.resume_token), 5);
    let expired = running.decisions("platforms/hb").list_case_changes(old.clone()).await.unwrap_err();
    assert_eq!(refusal(&expired).0, "RESUME_TOKEN_EXPIRED");
    let followed = reader.list_case_changes(old).await.unwrap().into_inner();
    assert_eq!(
        followed.changes.first().map(|change| change.position),
        Some(6),
        "a follower of the suite misses nothing"
    );

    let decisions = wire::ListDecisionChangesRequest {
        parent: "platforms/-".into(),
        start: Some(wire::list_decision_changes_request::Start::Earliest(true)),
        ..wire::ListDecisionChangesRequest::default()
    };
    let listed = reader.list_decision_changes(decisions).await.unwrap().into_inner();
    assert_eq!(listed.changes.iter().map(|change| change.case.clone()).collect::<Vec<_>>(), [case(3), case(1)]);
    drop(reader);
    running.stop().await;
}
