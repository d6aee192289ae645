//! Every limit of the suite, in one table. Each is tested from both sides, and each error that it causes names it.

/// Characters of an organisation's or clause's identifier.
pub const SLUG_CHARS_MAX: usize = 32;
/// Characters of a member's name.
pub const MEMBER_CHARS_MAX: usize = 64;
/// Characters of the justification of a reading.
pub const JUSTIFICATION_CHARS_MAX: usize = 500;
/// Characters of the purpose of a call.
pub const PURPOSE_CHARS_MAX: usize = 64;
/// Characters of the URI with which a certificate names who holds it.
pub const IDENTITY_CHARS_MAX: usize = 256;
/// Bytes of a bearer token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the clocks of those who issue tokens may be from the server's, in microseconds.
pub const TOKEN_SKEW_MICROS: i64 = 30_000_000;
/// Bytes of the set of keys that an issuer of tokens publishes.
pub const TOKEN_KEYS_BYTES_MAX: usize = 256 * 1024;
/// How long published keys count after they were last fetched, in microseconds: six hours.
pub const TOKEN_KEYS_AGE_MICROS_MAX: i64 = 6 * 3_600 * 1_000_000;
/// How long after keys were fetched for a token that named an unknown one they are not fetched for another such token, in
/// microseconds.
pub const TOKEN_KEYS_ASK_MICROS: i64 = 30_000_000;
/// Bytes of a file with certificates, keys or a revocation list.
pub const CREDENTIAL_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The server warns that its list of revoked certificates ends once less than this part of the list's time is left: a
/// quarter.
pub const REVOCATION_LIST_WARNING_PART: i64 = 4;
/// Bytes of a spreadsheet that is imported, as it lies.
pub const SPREADSHEET_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of it when it is unpacked, and of what its cells say: a few kilobytes can be packed from any number of them.
pub const SPREADSHEET_UNPACKED_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Rows of it below the header.
pub const SPREADSHEET_ROWS_MAX: usize = 100_000;
/// Bytes of one gRPC message that a server accepts.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one gRPC message that a server sends; a batch on a stream stays below half of it.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of events that one stream message carries.
pub const STREAM_BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Events that one stream message carries.
pub const STREAM_BATCH_EVENTS_MAX: usize = 500;
/// Referrals in one atomic batch.
pub const BATCH_REFERRALS_MAX: usize = 1_000;
/// Items in one message of an import.
pub const IMPORT_ITEMS_MAX: usize = 500;
/// Cases acknowledged, or decisions recorded, in one call.
pub const BATCH_DECISIONS_MAX: usize = 500;
/// Statements of reasons in one batch: what the DSA Transparency Database takes in one call.
pub const BATCH_STATEMENTS_MAX: usize = 100;
/// Cases of which an export of statements is told what the exchange does not know.
pub const STATEMENT_FACTS_MAX: usize = 10_000;
/// Hosts that route to one platform.
pub const PLATFORM_HOSTS_MAX: usize = 64;
/// Characters of a target's URL.
pub const URL_CHARS_MAX: usize = 2_048;
/// Handles under which one target was seen.
pub const TARGET_HANDLES_MAX: usize = 20;
/// Characters of a handle.
pub const HANDLE_CHARS_MAX: usize = 100;
/// Interests that one agency has registered and that have not ended.
pub const AGENCY_INTERESTS_MAX: usize = 2_000_000;
/// Interests registered, and targets checked, in one call.
pub const BATCH_INTERESTS_MAX: usize = 1_000;
/// How long an interest lasts before it is renewed, in microseconds: 366 days.
pub const INTEREST_MICROS_MAX: i64 = 366 * 24 * 3_600 * 1_000_000;
/// Characters of the contact and of the reference of an interest.
pub const INTEREST_TEXT_CHARS_MAX: usize = 200;
/// How long an interest holds a referral, and how much longer with each renewal, in microseconds: 72 hours.
pub const HOLD_MICROS: i64 = 72 * 3_600 * 1_000_000;
/// How often a hold is renewed.
pub const HOLD_RENEWALS_MAX: u32 = 3;
/// Interests that hold one referral: the ones on which most depends.
pub const REFERRAL_HOLDS_MAX: usize = 20;
/// Held referrals, or interests past their time, that one sweep looks at together.
pub const SWEEP_HOLDS_MAX: usize = 500;
/// Links of one referral to others.
pub const REFERRAL_LINKS_MAX: usize = 20;
/// Hosts of one platform that stand for others.
pub const ADDRESS_HOSTS_MAX: usize = 64;
/// Parameters that the addresses of one platform are written without, and that one kind of address alone has.
pub const ADDRESS_PARAMETERS_MAX: usize = 64;
/// Kinds of address of one platform with parameters of their own, and rewritings of its addresses.
pub const ADDRESS_REWRITES_MAX: usize = 64;
/// Characters of a template of addresses, and of a parameter's name.
pub const ADDRESS_TEMPLATE_CHARS_MAX: usize = 200;
/// Referrals whose addresses are put in canonical form anew in one commit.
pub const SWEEP_ADDRESSES_MAX: usize = 500;
/// Characters of a referral's signature.
pub const SIGNATURE_CHARS_MAX: usize = 1_024;
/// Signing keys that one agency registers, revoked and expired ones among them.
pub const SIGNING_KEYS_MAX: usize = 64;
/// Days for which a signing key may be valid: three years and a day.
pub const SIGNING_KEY_DAYS_MAX: i64 = 1_096;
/// Referrals that are looked at for erasure in one commit.
pub const SWEEP_REFERRALS_MAX: usize = 200;
/// Cases that are marked as candidates for replay in one commit.
pub const SWEEP_CASES_MAX: usize = 100;
/// Cases that are looked up for that at a time.
pub const SWEEP_READ_MAX: usize = 10_000;
/// Rows of a page when the caller names no size.
pub const PAGE_ROWS_DEFAULT: usize = 50;
/// Rows of a page at most; a larger size is taken as this one (AIP-158).
pub const PAGE_ROWS_MAX: usize = 1_000;
/// Values of one filter field.
pub const FILTER_VALUES_MAX: usize = 100;
/// Parties of one agreement.
pub const AGREEMENT_PARTIES_MAX: usize = 32;
/// Agreements that name one agency, those that have ended included.
pub const AGENCY_AGREEMENTS_MAX: usize = 1_000;
/// Later ends proposed for one agreement, and suspensions of it.
pub const AGREEMENT_FACTS_MAX: usize = 100;
/// The lowest minimum of a grant below which counts are withheld: a grant may ask for a higher one, never for a lower.
pub const GRANT_SMALL_CELL_FLOOR: u32 = 5;
/// The highest such minimum.
pub const GRANT_SMALL_CELL_MAX: u32 = 1_000;
/// Bytes of a report that is published: it is kept as one event, for ever.
pub const PUBLICATION_BYTES_MAX: usize = 1024 * 1024;
/// Queries that one grant allows.
pub const GRANT_QUERIES_MAX: u32 = 10_000;
/// Days for which a grant may be in force: three years and a day.
pub const GRANT_DAYS_MAX: i64 = 1_096;
/// Measures against misuse that one agency and its members have had, those that have ended included.
pub const AGENCY_MEASURES_MAX: usize = 1_000;
/// Days for which a suspension may last.
pub const SUSPENSION_DAYS_MAX: i64 = 180;
/// Days ahead at which a suspension may begin.
pub const SUSPENSION_AHEAD_DAYS_MAX: i64 = 90;
/// Days for which a warning counts as the one that a suspension needs.
pub const WARNING_DAYS: i64 = 365;
/// Days after which a measure can no longer be appealed against: six months and more (DSA art. 20(1)).
pub const APPEAL_DAYS: i64 = 184;
/// Observations of one referral.
pub const REFERRAL_OBSERVATIONS_MAX: usize = 1_000;
/// How long after a decision took effect content may still be seen without that being a discrepancy.
pub const OBSERVATION_GRACE_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Days after a decision in which it can be challenged: six months (DSA art. 20(1)).
pub const CHALLENGE_DAYS: i64 = 184;
/// Challenges that one organisation can file on one case, over all of its life.
pub const FILER_CHALLENGES_MAX: usize = 8;
/// Characters of what a challenge says, and of what the platform explains about it.
pub const CHALLENGE_CHARS_MAX: usize = 2_000;
/// Times during which a platform could not go on with one case, over all of its life.
pub const CASE_STAYS_MAX: usize = 8;
/// Characters of a question to the agency, or of what keeps a platform from going on.
pub const QUESTION_CHARS_MAX: usize = 2_000;
/// Characters of an agency's answer.
pub const ANSWER_CHARS_MAX: usize = 5_000;
/// How soon, and how late, an agency can be made to answer, in microseconds: an hour, and 90 days.
pub const ANSWER_MICROS_MIN: i64 = 3_600 * 1_000_000;
/// See [`ANSWER_MICROS_MIN`].
pub const ANSWER_MICROS_MAX: i64 = 90 * 24 * 3_600 * 1_000_000;
/// How short, and how long, a time can be that a platform takes for itself or an order gives it, in microseconds: a minute, and 365
/// days.
pub const RESPONSE_MICROS_MIN: i64 = 60 * 1_000_000;
/// See [`RESPONSE_MICROS_MIN`].
pub const RESPONSE_MICROS_MAX: i64 = 365 * 24 * 3_600 * 1_000_000;
/// Within what time of its receipt a removal order is to be carried out, in microseconds: one hour (TCO art. 3(3)).
pub const TCO_ORDER_MICROS: i64 = 3_600 * 1_000_000;
/// How long an order can keep a platform from telling whoever posted the content, in microseconds: six weeks (TCO art. 11(3)).
pub const NON_DISCLOSURE_MICROS: i64 = 42 * 24 * 3_600 * 1_000_000;
/// Characters of why a referral is urgent.
pub const PRIORITY_CHARS_MAX: usize = 1_000;
/// How long a reviewer can hold a case without asking again, and an inbox can wait before it sends a case again, in microseconds.
pub const LEASE_MICROS_MAX: i64 = 24 * 3_600 * 1_000_000;
/// Cases that an inbox has sent and the platform has not acknowledged, when the platform does not say how many.
pub const INBOX_OUTSTANDING_DEFAULT: u32 = 100;
/// Cases that are looked at for a lease beyond twice those that are wanted, for others take some at the same time.
pub const INBOX_CANDIDATES_MORE: usize = 64;
/// How long an inbox waits after a commit that it looks at, in milliseconds.
pub const INBOX_PACE_MS: u64 = 100;
/// Cases whose clocks are marked in one commit.
pub const TICK_CASES_MAX: usize = 200;
/// Agencies of one operation, its lead included.
pub const OPERATION_AGENCIES_MAX: usize = 32;
/// Operations that one agency leads, closed ones included.
pub const AGENCY_OPERATIONS_MAX: usize = 1_000;
/// Targets of one operation, each counted once.
pub const OPERATION_TARGETS_MAX: u32 = 50_000;
/// Days from the begin of an operation's window to its end.
pub const OPERATION_DAYS_MAX: i64 = 92;
/// Days ahead at which an operation may begin.
pub const OPERATION_AHEAD_DAYS_MAX: i64 = 366;
/// How long after a pre-notice an agency's first removal order to a platform may be sent, in microseconds (TCO art. 3(2)).
pub const PRE_NOTICE_MICROS: i64 = 12 * 3_600 * 1_000_000;
/// Pre-notices of one agency to one platform.
pub const PRE_NOTICES_MAX: i64 = 100;
/// Times that the priority of one referral is changed after it was sent.
pub const REFERRAL_PRIORITIES_MAX: u32 = 100;
/// Flags for review that one agency has to answer.
pub const AGENCY_OPEN_FLAGS_MAX: usize = 1_000;
/// Characters of the reasons of one answer of a protected-context check.
pub const PROTECTED_CONTEXT_REASONS_CHARS_MAX: usize = 2_000;
/// Drafts of one agency that wait to be authorised.
pub const AGENCY_OPEN_DRAFTS_MAX: usize = 1_000;
/// Members who have written one draft.
pub const DRAFT_AUTHORS_MAX: usize = 32;
/// Bytes of one piece of evidence.
pub const EVIDENCE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes that one message of an upload or a download carries.
pub const EVIDENCE_CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Pieces of evidence that one referral carries.
pub const REFERRAL_EVIDENCE_MAX: usize = 50;
/// Uploads of evidence under way at once.
pub const UPLOADS_MAX: usize = 32;
/// Uploads of evidence that one organisation has under way at once.
pub const ORGANISATION_UPLOADS_MAX: usize = 8;
/// How long an upload of evidence may take, in seconds.
pub const UPLOAD_SECONDS_MAX: u64 = 600;
/// How long an object that nobody keeps is left, in microseconds: it may be of an upload under way.
pub const OBJECT_GRACE_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Objects that are looked up at a time for whether anybody keeps them.
pub const SWEEP_OBJECTS_MAX: usize = 100;
/// Dimensions of one report.
pub const REPORT_DIMENSIONS_MAX: usize = 4;
/// Rows of one report.
pub const REPORT_ROWS_MAX: usize = 100_000;
/// Bytes of the question of a page: what stands after the `?`.
pub const PAGE_QUERY_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a token that is given to a page to sign in with.
pub const PAGE_TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Clocks that a page shows.
pub const PAGE_CLOCKS_MAX: usize = 1_000;
/// Milliseconds between two updates of a page, at least: nobody reads faster.
pub const PAGE_UPDATE_MILLIS_MIN: u64 = 1_000;
/// Linked referrals of one agency whose networks are reported.
pub const RECURRENCE_REFERRALS_MAX: usize = 100_000;
/// Submissions that one commit takes up.
pub const COMMIT_SUBMISSIONS_MAX: usize = 512;
/// Commands that one commit takes up; a submission may carry many.
pub const COMMIT_COMMANDS_MAX: usize = 4_096;
/// Submissions that wait for the writer before a caller is told to come back.
pub const WRITER_QUEUE_MAX: usize = 4_096;
/// How long a read waits for the revisions that it names, in milliseconds.
pub const CATCH_UP_WAIT_MS: u64 = 5_000;
/// How far in the future a caller's clock may seem to be, in microseconds: clocks differ.
pub const CLOCK_SKEW_MICROS: i64 = 2_000_000;
/// Connections open at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Connections that one address (of IPv6, one network of /64) may have open; more are closed at once.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 1_024;
/// How long a call may take until the server begins to answer, in seconds, whatever the caller's own deadline: who never
/// sends the message that a call needs does not keep its place.
pub const CALL_SECONDS_MAX: u64 = 60;
/// Streams open at once.
pub const STREAMS_MAX: usize = 4_096;
/// Unary calls under way at once.
pub const UNARY_CALLS_MAX: usize = 2_048;
/// Calls a second that one organisation may make in the long run.
pub const ORGANISATION_CALLS_PER_SECOND_MAX: u32 = 5_000;
/// Calls that one organisation may make at once after a pause: an operation's targets, each by a call of its own, many
/// times over.
pub const ORGANISATION_CALLS_BURST_MAX: u32 = 10_000;
/// Unary calls of one organisation under way at once; one is until its answer has been taken.
pub const ORGANISATION_UNARY_CALLS_MAX: usize = 1_024;
/// Calls for health and reflection under way at once. Whoever can reach the server can make them, so that they have places
/// of their own and take none of the others'.
pub const INFRASTRUCTURE_CALLS_MAX: usize = 256;
/// Streams that one organisation has open at once.
pub const ORGANISATION_STREAMS_MAX: usize = 1_024;
/// How long an idle stream waits before it sends a checkpoint, in milliseconds.
pub const CHECKPOINT_INTERVAL_MS: u64 = 10_000;
