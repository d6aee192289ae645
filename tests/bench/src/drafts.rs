//! Referrals to send: each to its own page, the wording about as long as the real ones.

use std::sync::atomic::{AtomicU64, Ordering};

use portreeve_api::common::v1::{Ground, ReferralNature, TargetKind};
use portreeve_api::referral::v1::{
    CreateReferralRequest, ImportItem, ImportReferralsRequest, LegalBasis, ReferralDraft, ReferralSignature, Target,
};
use portreeve_api::signing;
use portreeve_core::id::RandomIds;
use portreeve_core::signature::PrivateKey;
use portreeve_core::time::SystemClock;
use portreeve_core::{Clock as _, IdSource as _};
use uuid::Uuid;

/// The agency that refers.
pub(crate) const AGENCY: &str = "agencies/nca";
/// The platforms, with their hosts.
pub(crate) const PLATFORMS: [(&str, &str); 3] =
    [("harbourbook", "harbourbook.example"), ("chirrup", "chirrup.example"), ("lensgram", "lensgram.example")];
/// Items of one message of an import.
pub(crate) const ITEMS: usize = 500;

const GROUNDS: [Ground; 4] = [
    Ground::OfferTransportSea,
    Ground::OfferTransportVehicle,
    Ground::ForgedDocuments,
    Ground::RecruitmentOfFacilitators,
];

/// A source of referrals, no two alike.
#[derive(Debug)]
pub(crate) struct Drafts {
    next: AtomicU64,
    run: u64,
    varied: bool,
}

impl Drafts {
    /// Referrals to several platforms on several grounds.
    pub(crate) fn varied() -> Self {
        Self { next: AtomicU64::new(0), run: run(), varied: true }
    }

    /// Referrals that fall into the same cell of every report.
    pub(crate) fn alike() -> Self {
        Self { next: AtomicU64::new(0), run: run(), varied: false }
    }

    /// One referral, with the identifier of its request.
    pub(crate) fn item(&self) -> ImportItem {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let variant = if self.varied { usize::try_from(number).unwrap_or_default() } else { 0 };
        let (platform, host) = PLATFORMS[variant % PLATFORMS.len()];
        let ground = GROUNDS[variant / PLATFORMS.len() % GROUNDS.len()];
        let scattered = scatter(self.run ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let draft = ReferralDraft {
            platform: format!("platforms/{platform}"),
            target: Some(Target {
                kind: TargetKind::Page as i32,
                url: format!("https://www.{host}/pages/{scattered:016x}/{number}"),
                native_id: format!("{number:012}"),
                ..Target::default()
            }),
            nature: ReferralNature::VoluntaryReferral as i32,
            ground: ground as i32,
            legal_basis: Some(LegalBasis {
                code: "BSAIA2025_S17".to_owned(),
                statute: "Border Security, Asylum and Immigration Act 2025".to_owned(),
                section: "17".to_owned(),
            }),
            statement_of_reasons: format!(
                "The page offers places on a small boat, with a price for each passenger and a telephone number for \
                 booking. Synthetic text number {number}."
            ),
            statement_language: "en-GB".to_owned(),
            content_language: "en".to_owned(),
            occurred_at: None,
            ..ReferralDraft::default()
        };
        // Scattered, as identifiers are that clients make of what a row says.
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&scattered.to_be_bytes());
        bytes[8..].copy_from_slice(&scatter(scattered ^ self.run).to_be_bytes());
        ImportItem { request_id: uuid::Builder::from_random_bytes(bytes).into_uuid().to_string(), draft: Some(draft) }
    }

    /// One referral as a call of its own.
    pub(crate) fn create(&self) -> CreateReferralRequest {
        // Identifiers that grow, as our own client draws them for single calls.
        let request_id = RandomIds.uuid(SystemClock.now()).to_string();
        CreateReferralRequest { parent: AGENCY.to_owned(), referral: self.item().draft, request_id }
    }

    /// The messages of an import of so many rows.
    pub(crate) fn import(&self, rows: usize) -> Vec<ImportReferralsRequest> {
        (0..rows)
            .step_by(ITEMS)
            .map(|done| ImportReferralsRequest {
                parent: if done == 0 { AGENCY.to_owned() } else { String::new() },
                items: (0..ITEMS.min(rows - done)).map(|_| self.item()).collect(),
            })
            .collect()
    }
}

/// The same messages with each referral signed.
pub(crate) fn signed(mut messages: Vec<ImportReferralsRequest>, key: &PrivateKey) -> Vec<ImportReferralsRequest> {
    for draft in messages.iter_mut().flat_map(|message| &mut message.items).filter_map(|item| item.draft.as_mut()) {
        let jws = key.sign(&signing::of_draft(AGENCY, draft), SystemClock.now());
        draft.signature = Some(ReferralSignature { jws, occurred_at: None });
    }
    messages
}

/// A fresh identifier of a request.
pub(crate) fn request_id(number: u64) -> String {
    Uuid::from_u64_pair(scatter(run() ^ number), scatter(number)).to_string()
}

/// Tells one run from another.
fn run() -> u64 {
    SystemClock.now().micros().cast_unsigned()
}

/// Spreads numbers evenly (the finaliser of splitmix64).
pub(crate) const fn scatter(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
