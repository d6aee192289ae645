//! Streams, held against what they promise: under concurrent writers, slow and restless readers, restarts, crashes and
//! compaction; and the bugs of other systems' streams, one by one.
//!
//! Histories come from seeds, which are printed when a test fails; `TEST_SEED=7 cargo nextest run -E 'test(history)'`
//! repeats one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use portreeve_api::common::v1::{Ground, watch_start};
use portreeve_api::referral::v1 as wire;
use portreeve_core::token::{Resume, Revision};
use portreeve_tests::history::{Expiry, First, Message, Reader, Style, Tap, Trace, World, as_shown_to, token_position};
use portreeve_tests::{Client, Database, Options, Part, Refused, Server, on_both_engines, refusal, sample, within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;
use watch_start::Start;

on_both_engines!(
    a_history_of_referrals,
    progress_is_never_ahead_of_the_events,
    a_starved_reader_loses_nothing,
    compacting_while_a_reader_comes_back_drops_nothing,
    a_watch_on_the_compacted_revision,
    a_watch_on_a_future_revision,
    positions_never_fall_across_restarts,
    a_token_of_another_server,
    a_token_of_another_filter,
    a_token_that_is_none,
    a_start_must_be_chosen,
    a_snapshot_under_writing_misses_nothing,
    organisations_come_with_the_whole_log_only,
    resuming_clients_outlive_the_server,
);

fn seeds() -> Vec<u64> {
    match std::env::var("TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2],
    }
}

/// What a writer knows for certain: it was answered.
#[derive(Default)]
struct Written {
    /// The referrals of each request, in the order of the requests, with the revision of the answer.
    created: Vec<(Vec<String>, i64)>,
    /// The referrals withdrawn, likewise.
    withdrawn: Vec<(String, i64)>,
    /// The marks of everything that was sent.
    sent: BTreeSet<String>,
}

fn position(revision: &str) -> i64 {
    Revision::decode(revision).unwrap().position
}

/// Writes at random: single referrals, batches, imports, withdrawals.
async fn write(world: World, steps: Arc<watch::Sender<u64>>, agency: &'static str, writer: u64, seed: u64) -> Written {
    let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000) + writer);
    let mut written = Written::default();
    let mut open = Vec::<String>::new();
    for step in 0..40 {
        let id = format!("{writer}-{step}");
        let mut drafts = |count: usize, random: &mut StdRng| {
            let mark = |item| {
                let (platform, _) = sample::PLATFORMS[random.random_range(0..2)];
                let tag = format!("{id}-{item}");
                written.sent.insert(tag.clone());
                let ground =
                    if random.random_bool(0.3) { Ground::SolicitationOfService } else { Ground::OfferTransportSea };
                wire::ReferralDraft { ground: ground.into(), ..sample::draft(platform, &tag) }
            };
            (0..count).map(mark).collect::<Vec<_>>()
        };
        match random.random_range(0..10) {
            0..=3 => {
                let request = sample::create(agency, drafts(1, &mut random).remove(0), &id);
                let reply = world
                    .insist(|url| {
                        let request = request.clone();
                        async move { Ok(agent(&url, agency).referrals().create_referral(request).await?.into_inner()) }
                    })
                    .await;
                let name = reply.referral.unwrap().name;
                written.created.push((vec![name.clone()], position(&reply.revision)));
                open.push(name);
            }
            4 => {
                let count = random.random_range(1..80);
                let request = wire::BatchCreateReferralsRequest {
                    parent: format!("agencies/{agency}"),
                    drafts: drafts(count, &mut random),
                    request_id: sample::request_id(&id),
                };
                let reply = world
                    .insist(|url| {
                        let request = request.clone();
                        async move {
                            Ok(agent(&url, agency).referrals().batch_create_referrals(request).await?.into_inner())
                        }
                    })
                    .await;
                let names = reply.referrals.into_iter().map(|it| it.name).collect::<Vec<_>>();
                assert_eq!(names.len(), count);
                written.created.push((names.clone(), position(&reply.revision)));
                open.extend(names);
            }
            5 => {
                let count = random.random_range(1..150);
                let items = drafts(count, &mut random).into_iter().enumerate().map(|(item, draft)| wire::ImportItem {
                    request_id: sample::request_id(&format!("{id}-{item}")),
                    draft: Some(draft),
                });
                let items = items.collect::<Vec<_>>();
                let size = random.random_range(1..60);
                let names = world
                    .insist(|url| {
                        let messages = items.chunks(size).map(|items| wire::ImportReferralsRequest {
                            parent: format!("agencies/{agency}"),
                            items: items.to_vec(),
                        });
                        import(url, agency, messages.collect())
                    })
                    .await;
                assert_eq!(names.len(), count);
                written.created.push((names.iter().map(|(name, _)| name.clone()).collect(), names[count - 1].1));
                open.extend(names.into_iter().map(|(name, _)| name));
            }
            _ if open.is_empty() => {}
            _ => {
                let name = open.swap_remove(random.random_range(0..open.len()));
                let request = sample::withdraw(&name, &id);
                let reply = world
                    .insist(|url| {
                        let request = request.clone();
                        async move { Ok(agent(&url, agency).referrals().withdraw_referral(request).await?.into_inner()) }
                    })
                    .await;
                written.withdrawn.push((name, position(&reply.revision)));
            }
        }
        steps.send_modify(|steps| *steps += 1);
    }
    written
}

fn agent(url: &str, agency: &str) -> Client {
    Client::new(url, &format!("agencies/{agency}"))
}

/// Imports; gives the names with the revision of the message that told of them.
async fn import(
    url: String,
    agency: &str,
    messages: Vec<wire::ImportReferralsRequest>,
) -> Result<Vec<(String, i64)>, tonic::Status> {
    use wire::import_result::Result as Of;
    let mut client = agent(&url, agency).referrals();
    let mut replies = client.import_referrals(tokio_stream::iter(messages)).await?.into_inner();
    let mut names = Vec::new();
    while let Some(reply) = replies.next().await {
        let reply = reply?;
        for result in reply.results {
            assert_eq!(usize::try_from(result.index).unwrap(), names.len(), "the results keep the order of the items");
            match result.result.unwrap() {
                Of::Imported(imported) => names.push((imported.name, position(&reply.revision))),
                Of::Error(error) => panic!("an item was refused: {error:?}"),
            }
        }
    }
    Ok(names)
}

/// Everybody at once; then what each reader saw is held against what was answered and against what there is.
async fn a_history_of_referrals(database: &Database) {
    for seed in seeds() {
        eprintln!("TEST_SEED={seed}");
        let fixture = portreeve_tests::another(database).await;
        within(100, &format!("the history of seed {seed}"), Box::pin(history(&fixture.database, seed))).await;
    }
}

async fn history(database: &Database, seed: u64) {
    let part = Part::Referral;
    let mut server = Server::start(database, Options::only(part)).await;
    sample::register(&server.client("operators/op")).await;
    let (place, where_it_is) = watch::channel((0, server.url()));
    let (steps, made) = watch::channel(0);
    let (end, ends) = watch::channel(None);
    let world = World { server: where_it_is, steps: made, end: ends };
    let steps = Arc::new(steps);

    let all = Tap::referrals("services/reporting", "agencies/-");
    let nca = Tap::referrals("agencies/nca", "agencies/-");
    let solicitation = wire::ReferralFilter {
        grounds: vec![Ground::SolicitationOfService.into()],
        platforms: vec!["platforms/chirrup".into()],
        ..wire::ReferralFilter::default()
    };
    let filtered = Tap::Referrals {
        organisation: "agencies/nca".into(),
        parent: "agencies/nca".into(),
        filter: Some(solicitation),
    };
    let readers = [
        Reader::new(all.clone(), Style::Steady).dense(),
        Reader::new(all.clone(), Style::Slow).dense(),
        Reader::new(all.clone(), Style::Restless).dense(),
        Reader::new(all.clone(), Style::Paging).dense(),
        Reader::new(Tap::referrals("agencies/nca", "agencies/nca"), Style::Restless),
        Reader::new(Tap::referrals("platforms/chirrup", "agencies/-"), Style::Slow),
        Reader::new(filtered.clone(), Style::Restless),
        Reader::new(filtered, Style::Paging),
        Reader::new(all.clone(), Style::Restless).dense().begins(First::Now, Expiry::Never),
        Reader::new(all.clone(), Style::Slow).dense().begins(First::Snapshot, Expiry::Snapshot),
        // The suite's own services read the whole log, compacted or not.
        Reader::new(all, Style::Absent).dense().begins(First::Snapshot, Expiry::Snapshot),
        Reader::new(nca.clone(), Style::Restless).begins(First::Snapshot, Expiry::Snapshot),
        Reader::new(nca.clone(), Style::Absent).begins(First::Snapshot, Expiry::Snapshot),
        Reader::new(nca.clone(), Style::Absent).begins(First::Earliest, Expiry::Oldest),
        Reader::new(nca, Style::Slow).begins(First::Earliest, Expiry::Oldest),
    ];
    let mut reading = Vec::new();
    for (number, reader) in (0_u64..).zip(readers.clone()) {
        reading.push(tokio::spawn(reader.read(world.clone(), seed * 100 + number)));
    }
    let mut writing = JoinSet::new();
    for (writer, agency) in (0_u64..).zip(["nca", "nca", "bka", "bka"]) {
        writing.spawn(write(world.clone(), Arc::clone(&steps), agency, writer, seed));
    }

    // Meanwhile the server is compacted, stopped and killed.
    let mut random = StdRng::seed_from_u64(seed);
    let mut made = steps.subscribe();
    let mut number = 0;
    for (turn, until) in [25_u64, 50, 75, 100, 125, 145].into_iter().enumerate() {
        let _ = made.wait_for(|made| *made >= until).await.unwrap();
        let strict = readers.iter().filter(|reader| reader.expiry == Expiry::Never);
        let floor = strict.map(|reader| reader.reached.load(Ordering::SeqCst)).min().unwrap();
        let through = random.random_range(floor.max(0) / 2..=floor.max(0));
        assert!(server.compact(part, through).await >= through);
        if turn % 2 == 1 {
            let before = server.head(part).await;
            if random.random_bool(0.5) {
                server.stop_within(Duration::from_secs(1)).await;
            } else {
                server.kill().await;
            }
            server = Server::start(database, Options::only(part)).await;
            assert!(server.head(part).await >= before, "the log is shorter after a restart");
            number += 1;
            place.send_replace((number, server.url()));
        }
    }
    let written = writing.join_all().await;
    let head = server.head(part).await;
    end.send_replace(Some(head));
    let mut traces = Vec::new();
    for reading in reading {
        traces.push(reading.await.unwrap());
    }
    judge(&server, head, &written, &readers, &traces).await;
    assert!(traces.iter().any(|trace| trace.expired > 0), "no reader's token ever expired");
}

async fn judge(server: &Server, head: i64, written: &[Written], readers: &[Reader], traces: &[Trace]) {
    let truth = &traces[0];
    assert_eq!(truth.positions(), (1..=head).collect::<Vec<_>>());

    // What was answered is in the log once, where the answer said, in the order of the answers.
    let mut created = BTreeMap::new();
    let mut withdrawn = BTreeMap::new();
    let sent = written.iter().flat_map(|written| &written.sent).collect::<BTreeSet<_>>();
    for item in &truth.items {
        let into = match item.what {
            "created" => &mut created,
            "withdrawn" => &mut withdrawn,
            _ => continue,
        };
        assert_eq!(into.insert(item.name.as_str(), item.position), None, "{} is {} twice", item.name, item.what);
        assert!(item.what != "withdrawn" || created[item.name.as_str()] < item.position);
    }
    let answered = written.iter().flat_map(|written| written.created.iter().flat_map(|(names, _)| names));
    assert_eq!(answered.collect::<BTreeSet<_>>().len(), created.len(), "exactly what was answered was created");
    assert_eq!(created.len(), sent.len());
    assert_eq!(written.iter().map(|written| written.withdrawn.len()).sum::<usize>(), withdrawn.len());
    for written in written {
        let mut last = 0;
        for (names, revision) in &written.created {
            for name in names {
                let at = created[name.as_str()];
                assert!(at <= *revision, "{name} is at {at}, but the answer said {revision}");
                assert!(at > last, "{name} is at {at}, before what its writer sent earlier");
                last = at;
            }
        }
        for (name, revision) in &written.withdrawn {
            assert!(withdrawn[name.as_str()] <= *revision);
        }
    }

    // What there is now is what the changes made of it.
    let mut there = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListReferralsRequest {
            parent: "agencies/-".into(),
            page_size: 333,
            page_token: std::mem::take(&mut page_token),
            ..wire::ListReferralsRequest::default()
        };
        let page = server.client("services/reporting").referrals().list_referrals(request).await.unwrap().into_inner();
        there.extend(page.referrals.into_iter().map(|it| (it.name.clone(), format!("{it:?}"))));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let there = there.iter().map(|(name, state)| (name.as_str(), state.as_str())).collect::<BTreeMap<_, _>>();
    assert_eq!(there.len(), created.len());

    for (reader, trace) in readers.iter().zip(traces) {
        let label = &reader.label;
        let Tap::Referrals { organisation, parent, filter } = &reader.tap else { continue };
        let own = |name: &str, state: &str| {
            let agency = parent == "agencies/-" || name.starts_with(parent.as_str());
            let mine = match organisation.split_once('/').unwrap() {
                ("agencies", _) => name.starts_with(organisation.as_str()),
                ("platforms", _) => state.contains(&format!("platform: \"{organisation}\"")),
                _ => true,
            };
            let chosen = filter.is_none()
                || state.contains("platform: \"platforms/chirrup\"")
                    && state.contains(&format!("ground: {:?}", Ground::SolicitationOfService));
            agency && mine && chosen
        };
        let of_referral = |name: &str| name.contains("/referrals/");
        let whole = parent == "agencies/-" && filter.is_none();
        // Every event for this reader, and no other.
        let expected = truth
            .items
            .iter()
            .filter(|item| if of_referral(&item.name) { own(&item.name, &item.state) } else { whole });
        let expected = expected.map(|item| item.position).collect::<Vec<_>>();
        let seen = trace.positions();
        let missed =
            |position: i64| trace.missed.iter().any(|(after, through)| (after + 1..=*through).contains(&position));
        if reader.first == First::Earliest {
            let told = expected.iter().copied().filter(|position| !missed(*position));
            assert_eq!(seen, told.collect::<Vec<_>>(), "{label}");
        } else if let Some(first) = seen.first() {
            let told = expected.iter().copied().filter(|position| position >= first && !missed(*position));
            assert_eq!(seen, told.collect::<Vec<_>>(), "{label}");
        }
        // What it makes of them is what there is.
        if reader.first != First::Now && (trace.expired == 0 || reader.expiry == Expiry::Snapshot) {
            let expected = there.iter().filter(|(name, state)| own(name, state));
            let expected =
                expected.map(|(name, state)| (*name, as_shown_to(organisation, state))).collect::<BTreeMap<_, _>>();
            let view = trace.view_of("/referrals/");
            assert_eq!(view.len(), expected.len(), "{label}");
            for (name, state) in expected {
                assert_eq!(view.get(name).copied(), Some(state.as_str()), "{label}");
            }
        }
    }
}

// ---- One by one: what went wrong elsewhere.

/// Everything, as a service of the suite sees it.
fn everything() -> Tap {
    Tap::referrals("services/reporting", "agencies/-")
}

/// Everything too, as long as one agency alone refers; but unlike a service, an agency does not see what was compacted.
fn of_the_only_agency() -> Tap {
    Tap::referrals("agencies/nca", "agencies/-")
}

async fn one(database: &Database) -> Server {
    let server = Server::start(database, Options::only(Part::Referral)).await;
    sample::register(&server.client("operators/op")).await;
    server
}

/// Reads messages until the reader was told of everything up to a position.
async fn read_to(
    stream: &mut (impl futures_util::Stream<Item = Result<Message, tonic::Status>> + Unpin),
    trace: &mut Trace,
    position: i64,
) {
    while trace.reached() < position {
        trace.take(within(10, "the next message", stream.next()).await.unwrap().unwrap());
    }
}

async fn refused(tap: &Tap, server: &Server, start: Start) -> Refused {
    match tap.open(&server.url(), start).await {
        Err(status) => refusal(&status),
        Ok(mut stream) => panic!("was not refused: {:?}", stream.next().await),
    }
}

/// etcd: "Watch progress notification not synced with stream".
async fn progress_is_never_ahead_of_the_events(database: &Database) {
    let server = one(database).await;
    let client = server.client("agencies/nca");
    let taps = [everything(), Tap::referrals("agencies/bka", "agencies/bka")];
    let mut streams = Vec::new();
    for tap in &taps {
        let mut trace = Trace::new("progress", tap, tap.log() == "referral" && streams.is_empty());
        trace.begin_at_the_first();
        streams.push((tap.open(&server.url(), Start::Earliest(true)).await.unwrap(), trace));
    }
    for tag in 0..30 {
        let agency = if tag % 3 == 0 { "bka" } else { "nca" };
        let (referral, revision) = sample::refer(&client, agency, "chirrup", &tag.to_string()).await;
        for (stream, trace) in &mut streams {
            // The trace holds every message's token and progress against the events before it.
            read_to(stream, trace, position(&revision)).await;
        }
        let seen = |trace: &Trace| trace.items.iter().any(|item| item.name == referral.name);
        assert!(seen(&streams[0].1) && seen(&streams[1].1) == (agency == "bka"));
    }
    // Idle: checkpoints come, and say no more than was delivered.
    for (stream, trace) in &mut streams {
        let head = server.head(Part::Referral).await;
        for _ in 0..3 {
            let message = within(5, "a checkpoint", stream.next()).await.unwrap().unwrap();
            assert!(message.checkpoint && message.items.is_empty());
            assert_eq!(token_position(&message.token), head);
            trace.take(message);
        }
    }
}

/// etcd: "Watch events lost during stream starvation".
async fn a_starved_reader_loses_nothing(database: &Database) {
    let server = one(database).await;
    // Opened, and then not read: the server's window fills, and the stream falls behind by several batches.
    let mut stream = everything().open(&server.url(), Start::Earliest(true)).await.unwrap();
    let mut trace = Trace::new("starved", &everything(), true);
    trace.begin_at_the_first();
    let mut client = server.client("agencies/nca").referrals();
    for batch in 0..6 {
        let long = "Offers crossings. ".repeat(60);
        let drafts = (0..500).map(|item| wire::ReferralDraft {
            statement_of_reasons: long.clone(),
            ..sample::draft("chirrup", &format!("{batch}-{item}"))
        });
        let request = wire::BatchCreateReferralsRequest {
            parent: "agencies/nca".into(),
            drafts: drafts.collect(),
            request_id: sample::request_id(&format!("starve {batch}")),
        };
        client.batch_create_referrals(request).await.unwrap();
    }
    let head = server.head(Part::Referral).await;
    read_to(&mut stream, &mut trace, head).await;
    assert_eq!(trace.positions(), (1..=head).collect::<Vec<_>>());
}

/// etcd: "Watch dropping an event when compacting on delete".
async fn compacting_while_a_reader_comes_back_drops_nothing(database: &Database) {
    let server = one(database).await;
    let client = server.client("agencies/nca");
    let mut trace = Trace::new("compacted", &of_the_only_agency(), true);
    trace.begin_at_the_first();
    let mut stream = of_the_only_agency().open(&server.url(), Start::Earliest(true)).await.unwrap();
    for round in 0..20 {
        let (referral, revision) = sample::refer(&client, "nca", "chirrup", &format!("{round}")).await;
        read_to(&mut stream, &mut trace, position(&revision)).await;
        drop(stream);
        // Withdrawn while nobody reads; and everything is compacted up to just where the reader is, as it comes back.
        let request = sample::withdraw(&referral.name, &format!("withdraw {round}"));
        let reply = client.referrals().withdraw_referral(request).await.unwrap().into_inner();
        let token = trace.token.clone().unwrap();
        let tap = of_the_only_agency();
        let url = server.url();
        let (floor, opened) = tokio::join!(
            server.compact(Part::Referral, token_position(&token)),
            tap.open(&url, Start::ResumeToken(token.clone()))
        );
        assert_eq!(floor, token_position(&token));
        stream = opened.unwrap();
        read_to(&mut stream, &mut trace, position(&reply.revision)).await;
        assert_eq!(trace.items.last().unwrap().what, "withdrawn");
    }
    // A reader that was caught up stays, even when everything that it has read is compacted.
    let head = server.head(Part::Referral).await;
    assert_eq!(server.compact(Part::Referral, head).await, head);
    let (_, revision) = sample::refer(&client, "nca", "chirrup", "last").await;
    read_to(&mut stream, &mut trace, position(&revision)).await;
    assert_eq!(trace.positions(), (1..=position(&revision)).collect::<Vec<_>>());
}

/// etcd: "Missing delete event on watch opened on same revision as compaction"; and a token that has expired.
async fn a_watch_on_the_compacted_revision(database: &Database) {
    let server = one(database).await;
    let client = server.client("agencies/nca");
    let tap = of_the_only_agency();
    let mut tokens = Vec::new();
    let mut stream = tap.open(&server.url(), Start::Earliest(true)).await.unwrap();
    let mut trace = Trace::new("reader", &tap, true);
    trace.begin_at_the_first();
    for tag in ["a", "b", "c", "d"] {
        let (referral, revision) = sample::refer(&client, "nca", "chirrup", tag).await;
        read_to(&mut stream, &mut trace, position(&revision)).await;
        tokens.push((referral.name, trace.token.clone().unwrap()));
    }
    let request = sample::withdraw(&tokens[1].0, "withdraw");
    let withdrawn = position(&client.referrals().withdraw_referral(request).await.unwrap().into_inner().revision);
    let floor = withdrawn - 1;
    assert_eq!(token_position(&tokens[3].1), floor);
    assert_eq!(server.compact(Part::Referral, floor).await, floor);

    // On the very revision: what comes after it is there.
    let mut there = tap.open(&server.url(), Start::ResumeToken(tokens[3].1.clone())).await.unwrap();
    let message = there.next().await.unwrap().unwrap();
    assert_eq!(
        message.items.iter().map(|item| (item.position, item.what)).collect::<Vec<_>>(),
        [(withdrawn, "withdrawn")]
    );
    // So it is from the beginning, which is now there.
    let mut there = tap.open(&server.url(), Start::Earliest(true)).await.unwrap();
    assert_eq!(there.next().await.unwrap().unwrap().items[0].position, withdrawn);
    let (page, caught_up) = tap.page(&server.url(), Some(tokens[3].1.clone()), 10).await.unwrap();
    assert_eq!((page.items[0].position, page.items.len(), caught_up), (withdrawn, 1, true));

    // Before it: refused, with a token that works; by the stream and by its twin.
    for token in [&tokens[0].1, &tokens[2].1] {
        let expired = refused(&tap, &server, Start::ResumeToken(token.clone())).await;
        assert_eq!((expired.code, expired.reason.as_str()), (Code::OutOfRange, "RESUME_TOKEN_EXPIRED"));
        let twin = refusal(&tap.page(&server.url(), Some(token.clone()), 10).await.unwrap_err());
        assert_eq!(twin, expired);
        let oldest = expired.metadata["oldest"].clone();
        assert_eq!(token_position(&oldest), floor);
        let mut there = tap.open(&server.url(), Start::ResumeToken(oldest.clone())).await.unwrap();
        assert_eq!(there.next().await.unwrap().unwrap().items[0].position, withdrawn);
        let (page, _) = tap.page(&server.url(), Some(oldest), 10).await.unwrap();
        assert_eq!(page.items[0].position, withdrawn);
    }
    // The suite's own services read the whole log: what was compacted is kept for them.
    let mut whole = everything().open(&server.url(), Start::Earliest(true)).await.unwrap();
    let mut trace = Trace::new("service", &everything(), true);
    trace.begin_at_the_first();
    read_to(&mut whole, &mut trace, withdrawn).await;
    // A snapshot needs nothing that was compacted.
    let mut whole = tap.open(&server.url(), Start::Snapshot(true)).await.unwrap();
    let mut trace = Trace::new("snapshot", &tap, true);
    trace.begin_snapshot();
    read_to(&mut whole, &mut trace, withdrawn).await;
    assert_eq!(trace.view_of("/referrals/").len(), 4);
}

/// etcd: "Watch on future revision returns old events".
async fn a_watch_on_a_future_revision(database: &Database) {
    let server = one(database).await;
    let client = server.client("agencies/nca");
    let tap = everything();
    let (_, revision) = sample::refer(&client, "nca", "chirrup", "a").await;
    let head = position(&revision);
    let mut stream = tap.open(&server.url(), Start::Now(true)).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.checkpoint && first.items.is_empty());
    assert_eq!(token_position(&first.token), head);
    let mut resume = Resume::decode(&first.token).unwrap();
    for ahead in [1, 1_000, i64::MAX - head] {
        resume.revision.position = head + ahead;
        let future = refused(&tap, &server, Start::ResumeToken(resume.encode())).await;
        assert_eq!((future.code, future.reason.as_str()), (Code::OutOfRange, "RESUME_TOKEN_FUTURE"));
        assert_eq!(future.metadata["head"], head.to_string());
        let twin = refusal(&tap.page(&server.url(), Some(resume.encode()), 10).await.unwrap_err());
        assert_eq!(twin, future);
    }
    // Now is now: nothing old comes.
    let (_, revision) = sample::refer(&client, "nca", "chirrup", "b").await;
    let next = loop {
        let message = stream.next().await.unwrap().unwrap();
        if !message.checkpoint {
            break message;
        }
    };
    assert_eq!(next.items.iter().map(|item| item.position).collect::<Vec<_>>(), [position(&revision)]);
}

/// etcd: "Revision decreasing caused by crash during compaction".
async fn positions_never_fall_across_restarts(database: &Database) {
    let options = Options::only(Part::Referral);
    let mut server = one(database).await;
    let mut trace = Trace::new("across restarts", &of_the_only_agency(), true);
    trace.begin_at_the_first();
    let mut head = server.standing(Part::Referral).await;
    for round in 0..6 {
        let client = server.client("agencies/nca");
        let mut at_least = 0;
        for tag in 0..5 {
            let (_, revision) = sample::refer(&client, "nca", "chirrup", &format!("{round}-{tag}")).await;
            assert!(position(&revision) > head.head);
            at_least = position(&revision);
        }
        let start = trace.token.clone().map_or(Start::Earliest(true), Start::ResumeToken);
        let mut stream = of_the_only_agency().open(&server.url(), start).await.unwrap();
        read_to(&mut stream, &mut trace, at_least).await;
        drop(stream);
        // Killed while it compacts.
        {
            let mut compaction = Box::pin(server.compact(Part::Referral, at_least - 2));
            if round % 2 == 0 {
                let _ = futures_util::poll!(&mut compaction);
            } else {
                compaction.await;
            }
        }
        server.kill().await;
        server = Server::start(database, options.clone()).await;
        let now = server.standing(Part::Referral).await;
        assert_eq!((now.head, now.epoch), (at_least, head.epoch), "what was answered is there");
        assert!(now.compacted >= head.compacted && now.compacted <= at_least);
        head = now;
    }
    server.stop().await;
}

async fn a_token_of_another_server(database: &Database) {
    let here = one(database).await;
    let elsewhere = portreeve_tests::Fixture::sqlite();
    let there = one(&elsewhere.database).await;
    let tap = everything();
    let token = |server: &Server| {
        let url = server.url();
        let tap = tap.clone();
        async move { tap.page(&url, None, 1_000).await.unwrap().0.token }
    };
    let foreign = token(&there).await;
    let own = token(&here).await;
    assert_eq!(token_position(&own), token_position(&foreign));
    let check = |refused: Refused| {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "RESUME_TOKEN_FOREIGN"));
    };
    check(refused(&tap, &here, Start::ResumeToken(foreign.clone())).await);
    check(refusal(&tap.page(&here.url(), Some(foreign), 10).await.unwrap_err()));
    // The same server's token of another log.
    let mut resume = Resume::decode(&own).unwrap();
    resume.revision.log = "decision".into();
    check(refused(&tap, &here, Start::ResumeToken(resume.encode())).await);
    // Its own is good.
    assert!(tap.open(&here.url(), Start::ResumeToken(own)).await.is_ok());
}

async fn a_token_of_another_filter(database: &Database) {
    let server = one(database).await;
    let token = everything().page(&server.url(), None, 1_000).await.unwrap().0.token;
    let filter =
        |ground: Ground| wire::ReferralFilter { grounds: vec![ground.into()], ..wire::ReferralFilter::default() };
    let others = [
        Tap::referrals("services/reporting", "agencies/nca"),
        Tap::Referrals {
            organisation: "services/reporting".into(),
            parent: "agencies/-".into(),
            filter: Some(filter(Ground::ForgedDocuments)),
        },
    ];
    for other in &others {
        let changed = refused(other, &server, Start::ResumeToken(token.clone())).await;
        assert_eq!((changed.code, changed.reason.as_str()), (Code::InvalidArgument, "RESUME_FILTER_CHANGED"));
        let twin = refusal(&other.page(&server.url(), Some(token.clone()), 10).await.unwrap_err());
        assert_eq!(twin, changed);
    }
    // No filter and an empty one are the same; a stream and its twin share their tokens.
    let empty = Tap::Referrals {
        organisation: "services/reporting".into(),
        parent: "agencies/-".into(),
        filter: Some(wire::ReferralFilter::default()),
    };
    assert!(empty.open(&server.url(), Start::ResumeToken(token)).await.is_ok());
}

async fn a_token_that_is_none(database: &Database) {
    let server = one(database).await;
    let tap = everything();
    let good = tap.page(&server.url(), None, 1_000).await.unwrap().0.token;
    let revision = tap.page(&server.url(), None, 1_000).await.unwrap().0.revisions.remove(0);
    let garbage =
        ["x", "%%%", "AAAA", "\u{1f600}", &good[1..], &good[..good.len() - 1], &format!("{good}A"), &revision];
    for token in garbage {
        let invalid = refused(&tap, &server, Start::ResumeToken(token.into())).await;
        assert_eq!((invalid.code, invalid.reason.as_str()), (Code::InvalidArgument, "RESUME_TOKEN_INVALID"), "{token}");
        let twin = refusal(&tap.page(&server.url(), Some(token.to_owned()), 10).await.unwrap_err());
        assert_eq!(twin, invalid);
    }
}

async fn a_start_must_be_chosen(database: &Database) {
    let server = one(database).await;
    for start in [Start::Earliest(false), Start::Now(false), Start::Snapshot(false)] {
        let invalid = refused(&everything(), &server, start).await;
        assert_eq!((invalid.code, invalid.reason.as_str()), (Code::InvalidArgument, "REQUEST_INVALID"));
        assert!(invalid.fields[0].starts_with("start."), "{:?}", invalid.fields);
    }
    let request = wire::WatchReferralsRequest { parent: "agencies/-".into(), ..wire::WatchReferralsRequest::default() };
    let status = server.client("agencies/nca").referrals().watch_referrals(request).await.unwrap_err();
    assert_eq!(refusal(&status).fields[0], "start");
}

/// A snapshot is read while referrals are made and withdrawn: with the changes after it, it is the whole.
async fn a_snapshot_under_writing_misses_nothing(database: &Database) {
    let server = one(database).await;
    let client = server.client("agencies/nca");
    let many = |batch: &str| wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: (0..1_000).map(|item| sample::draft("chirrup", &format!("{batch}-{item}"))).collect(),
        request_id: sample::request_id(batch),
    };
    let mut made = Vec::new();
    for batch in ["first", "second"] {
        made.extend(client.referrals().batch_create_referrals(many(batch)).await.unwrap().into_inner().referrals);
    }
    let mut streams = Vec::new();
    for tap in [
        everything(),
        Tap::referrals("agencies/nca", "agencies/nca"),
        Tap::referrals("platforms/chirrup", "agencies/-"),
    ] {
        let stream = tap.open(&server.url(), Start::Snapshot(true)).await.unwrap();
        let mut trace = Trace::new("snapshot", &tap, streams.is_empty());
        trace.begin_snapshot();
        streams.push((stream, trace));
    }
    for (_, referral) in made.iter().enumerate().filter(|(number, _)| number % 50 == 0) {
        // Each stream takes a message, so that the rows change under the snapshot.
        for (stream, trace) in &mut streams {
            if trace.reached() < 0 {
                trace.take(stream.next().await.unwrap().unwrap());
            }
        }
        let request = sample::withdraw(&referral.name, &format!("withdraw {}", referral.name));
        client.referrals().withdraw_referral(request).await.unwrap();
    }
    let head = server.head(Part::Referral).await;
    let mut views = Vec::new();
    for (mut stream, mut trace) in streams {
        read_to(&mut stream, &mut trace, head).await;
        views.push(trace.view.into_iter().filter(|(name, _)| name.contains("/referrals/")).collect::<Vec<_>>());
    }
    assert_eq!(views[0].len(), 2_000);
    assert_eq!(views[0].iter().filter(|(_, state)| state.contains("withdrawn_at: Some")).count(), 40);
    assert!(views[0] == views[1]);
    let shown = |(name, state): &(String, String)| (name.clone(), as_shown_to("platforms/chirrup", state));
    assert_eq!(views[0].iter().map(shown).collect::<Vec<_>>(), views[2]);
}

/// "Changes of organisations come with `agencies/-` only"; "a filter leaves changes of organisations out".
async fn organisations_come_with_the_whole_log_only(database: &Database) {
    let server = one(database).await;
    let (_, revision) = sample::refer(&server.client("agencies/nca"), "nca", "chirrup", "a").await;
    let filter =
        wire::ReferralFilter { platforms: vec!["platforms/chirrup".into()], ..wire::ReferralFilter::default() };
    let filtered =
        Tap::Referrals { organisation: "agencies/nca".into(), parent: "agencies/-".into(), filter: Some(filter) };
    let whole = Tap::referrals("agencies/nca", "agencies/-");
    let own = Tap::referrals("agencies/nca", "agencies/nca");
    for (tap, organisations) in [(&whole, 6), (&own, 0), (&filtered, 0)] {
        for start in [Start::Earliest(true), Start::Snapshot(true)] {
            let mut trace = Trace::new("organisations", tap, false);
            match start {
                Start::Snapshot(_) => trace.begin_snapshot(),
                _ => trace.begin_at_the_first(),
            }
            let mut stream = tap.open(&server.url(), start.clone()).await.unwrap();
            read_to(&mut stream, &mut trace, position(&revision)).await;
            assert_eq!(trace.view_of("/referrals/").len(), 1);
            assert_eq!(trace.view.len(), 1 + organisations, "{tap:?} {start:?}");
        }
    }
}

/// The client library's own loop: a reader that names no token and never ends.
async fn resuming_clients_outlive_the_server(database: &Database) {
    use portreeve_api::watch::{Backoff, resuming};
    let first = one(database).await;
    let (place, places) = watch::channel(first.url());
    let request = |token: Option<String>| wire::WatchReferralsRequest {
        parent: "agencies/-".into(),
        start: Some(token.map_or_else(|| sample::start(Start::Earliest(true)), |token| sample::after(&token))),
        ..wire::WatchReferralsRequest::default()
    };
    let backoff = Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(50), ..Backoff::default() };
    let stream = resuming(
        |token| {
            let (url, request) = (places.borrow().clone(), request(token));
            async move { Client::new(&url, "services/reporting").referrals().watch_referrals(request).await }
        },
        backoff,
    );
    let mut stream = std::pin::pin!(stream);
    let mut server = Some(first);
    let mut seen = Vec::new();
    for round in 0..4 {
        let up = server.take().unwrap();
        let (_, revision) = sample::refer(&up.client("agencies/nca"), "nca", "chirrup", &round.to_string()).await;
        while seen.last() != Some(&position(&revision)) {
            let message = within(10, "the next message", stream.next()).await.unwrap().unwrap();
            seen.extend(message.changes.iter().map(|change| i64::try_from(change.position).unwrap()));
        }
        if round % 2 == 0 {
            up.stop().await;
        } else {
            up.kill().await;
        }
        let next = Server::start(database, Options::only(Part::Referral)).await;
        place.send_replace(next.url());
        server = Some(next);
    }
    assert_eq!(seen, (1..=i64::try_from(seen.len()).unwrap()).collect::<Vec<_>>());
}
