//! What proofs cost: the tree over the log, and the signatures of referrals.
//!
//! The tree has no switch, so that the same writes cannot be made without it. What it adds to them is measured by itself,
//! over the very events of an import in the same run: hashing them and growing the tree, and writing the same rows to the
//! same disk with all that is kept of the tree and without. All of it counts as if nothing else were done meanwhile.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portreeve_api::clients::{self, Acting};
use portreeve_api::referral::v1::{AddSigningKeyRequest, ImportReferralsRequest, SigningKey};
use portreeve_api::signing;
use portreeve_core::audit::{Entry, Tree};
use portreeve_core::signature::{Jws, PrivateKey, PublicKey, verify};
use portreeve_core::time::SystemClock;
use portreeve_core::{Clock as _, Timestamp};
use portreeve_storage::Database;
use tonic::transport::Channel;

use crate::Options;
use crate::bare::Image;
use crate::drafts::{self, AGENCY, Drafts};
use crate::import::{import, remove};
use crate::server::{Suite, agency};
use crate::table::{Limit, Table, median, rate, ratio};

/// Rows of a transaction: about what a commit of an import carries.
const BATCH: usize = 1_000;
/// The id of the key that signs.
const KID: &str = "bench";
const DAY_MICROS: i64 = 86_400_000_000;

/// Measures the tree.
pub(crate) async fn tree(options: &Options, table: &mut Table) -> Result<()> {
    let rows = if options.quick { 20_000 } else { 100_000 };
    let (mut whole, mut left) = (Vec::new(), Vec::new());
    let (mut hashing, mut writing) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        let folder = options.scratch()?;
        let suite = Suite::referral(&Database::Sqlite { folder: folder.path().join("suite") }).await?;
        let took = import(&mut agency(suite.channel().await?)?, Drafts::varied().import(rows)).await?;
        let hashed = hash_all(&suite).await?;
        suite.stop().await;
        let [with, without] = Image::with_tree_and_without(&folder.path().join("suite/referral.db"))?;
        let write = |image: &Image, name: &str| {
            let path = folder.path().join(name);
            let took = tokio::task::block_in_place(|| image.write(&path, BATCH));
            remove(&path).and(took)
        };
        // Each twice, in turns, so that neither always comes first; the faster one counts.
        let mut best = [Duration::MAX; 2];
        for _ in 0..2 {
            best = [best[0].min(write(&without, "without.db")?), best[1].min(write(&with, "with.db")?)];
        }
        let written = best[1].saturating_sub(best[0]);
        let each = |time: Duration| 1e6 / rate(rows, time);
        eprintln!(
            "tree: {:.2} us to hash and {:.2} us to write, of {:.1} us for each referral",
            each(hashed),
            each(written),
            each(took)
        );
        hashing.push(each(hashed));
        writing.push(each(written));
        left.push((took.saturating_sub(hashed + written)).as_secs_f64());
        whole.push(took.as_secs_f64());
    }
    table.add(
        &format!("ImportReferrals, {rows} rows, SQLite, with the tree : without what it costs"),
        format!("{:.2} us to hash and {:.2} us to write each", median(&hashing), median(&writing)),
        ratio(&left, &whole),
        "",
        Limit::AtLeast(0.9),
    );
    Ok(())
}

/// How long it takes to hash all events of the log and to grow the tree over them.
async fn hash_all(suite: &Suite) -> Result<Duration> {
    let (log, mut took) = (suite.log(), Duration::ZERO);
    let (mut tree, mut kept, mut after) = (Tree::default(), Vec::new(), 0);
    loop {
        let events = log.entries(after, 1_000).await?;
        let Some(last) = events.last() else { break };
        after = last.event.position;
        let begun = Instant::now();
        for logged in &events {
            let event = &logged.event;
            let entry = Entry {
                position: event.position,
                recorded_at: event.recorded_at,
                agency: &event.agency,
                platform: &event.platform,
                actor: &event.actor,
                body: &event.body,
            };
            tree.push(entry.leaf(), &mut kept);
        }
        took += begun.elapsed();
    }
    black_box((tree.root(), kept));
    Ok(took)
}

/// Measures signatures: an import of signed referrals, against the same one unsigned and the verifications by themselves,
/// one after another. What a signature costs is its verification.
pub(crate) async fn signatures(options: &Options, table: &mut Table) -> Result<()> {
    let rows = if options.quick { 10_000 } else { 50_000 };
    let key = PrivateKey::from_seed(KID, [5; 32]);
    let (mut ours, mut theirs, mut bare, mut plain) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        let folder = options.scratch()?;
        let suite = Suite::referral(&Database::Sqlite { folder: folder.path().join("suite") }).await?;
        let channel = suite.channel().await?;
        register(&channel, &key).await?;
        let mut client = agency(channel)?;
        let unsigned = import(&mut client, Drafts::varied().import(rows)).await?;
        let messages = drafts::signed(Drafts::varied().import(rows), &key);
        let verified = tokio::task::block_in_place(|| verify_all(&messages, &key))?;
        let signed = import(&mut client, messages).await?;
        suite.stop().await;
        ours.push(rate(rows, signed));
        theirs.push(rate(rows, unsigned + verified));
        bare.push(rate(rows, verified));
        plain.push(rate(rows, unsigned));
    }
    table.add(
        &format!("ImportReferrals, {rows} rows, signed, SQLite : unsigned + verifying by itself"),
        format!(
            "{:.0}/s : {:.0}/s; unsigned {:.0}/s, verifying {:.0}/s on one processor",
            median(&ours),
            median(&theirs),
            median(&plain),
            median(&bare)
        ),
        ratio(&ours, &theirs),
        "",
        Limit::AtLeast(0.8),
    );
    Ok(())
}

async fn register(channel: &Channel, key: &PrivateKey) -> Result<()> {
    let mut signing = clients::signing(channel.clone(), Acting::new(AGENCY)?);
    let until = SystemClock.now().plus_micros(30 * DAY_MICROS);
    let (seconds, nanos) = until.to_parts();
    let request = AddSigningKeyRequest {
        parent: AGENCY.to_owned(),
        kid: KID.to_owned(),
        signing_key: Some(SigningKey {
            public_key: key.public().to_vec().into(),
            valid_until: Some(prost_types::Timestamp { seconds, nanos }),
            ..SigningKey::default()
        }),
        request_id: drafts::request_id(99),
    };
    signing.add_signing_key(request).await.context("cannot register the key")?;
    Ok(())
}

/// How long it takes to make the canonical bytes of every referral and to verify its signature.
fn verify_all(messages: &[ImportReferralsRequest], key: &PrivateKey) -> Result<Duration> {
    let public = PublicKey {
        kid: KID.to_owned(),
        key: key.public(),
        valid_from: Timestamp::from_micros(i64::MIN),
        valid_until: Timestamp::from_micros(i64::MAX),
        revoked: None,
    };
    let begun = Instant::now();
    for draft in messages.iter().flat_map(|message| &message.items).filter_map(|item| item.draft.as_ref()) {
        let jws = draft.signature.as_ref().map(|signature| signature.jws.as_str()).unwrap_or_default();
        let jws = Jws::parse(jws).map_err(anyhow::Error::msg)?;
        let verified = verify(&jws, &signing::of_draft(AGENCY, draft), [&public]);
        verified.map_err(|why| anyhow::anyhow!("a signature is not believed: {why:?}"))?;
    }
    Ok(begun.elapsed())
}
