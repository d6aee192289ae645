//! Which role may call which method: the one table of it.
//!
//! What a service asks beyond it (that the caller owns what it changes, that a row is shared with it) is the service's
//! own to ask. A method that is not in the table is refused to everybody, and a test names it.

use portreeve_core::principal::Role;
use portreeve_core::{Principal, Reason, Result};

/// Reads: everybody who is somebody. What they get depends on what they may see.
const EVERYBODY: &[Role] = &[
    Role::Officer,
    Role::Approver,
    Role::InterestHolder,
    Role::Auditor,
    Role::Import,
    Role::Reviewer,
    Role::PolicyEditor,
    Role::Analyst,
    Role::Supervisor,
    Role::Researcher,
    Role::Operator,
    Role::Service,
];
const APPROVER: &[Role] = &[Role::Approver];
const OFFICER: &[Role] = &[Role::Officer];
const REVIEWER: &[Role] = &[Role::Reviewer];
const POLICY_EDITOR: &[Role] = &[Role::PolicyEditor];
const SUPERVISOR: &[Role] = &[Role::Supervisor];
const OVERSIGHT: &[Role] = &[Role::Analyst, Role::Supervisor];
/// Whoever may file a challenge, each kind of organisation its own.
const CHALLENGERS: &[Role] = &[Role::Officer, Role::Reviewer, Role::Supervisor];
/// Whoever may publish figures, each kind of organisation its own.
const PUBLISHERS: &[Role] = &[Role::Approver, Role::Reviewer, Role::Supervisor];
const OPERATOR: &[Role] = &[Role::Operator];
const AUDITORS: &[Role] = &[Role::Auditor, Role::Analyst];

/// A method with the roles that may call it: any one of them is enough.
type Permitted = (&'static str, &'static [Role]);

/// Each service of the contract with its methods.
const TABLE: &[(&str, &[Permitted])] = &[
    (
        "portreeve.referral.v1.OrganisationService",
        &[
            ("CreateOrganisation", OPERATOR),
            ("UpdateOrganisation", OPERATOR),
            ("GetOrganisation", EVERYBODY),
            ("ListOrganisations", EVERYBODY),
        ],
    ),
    (
        "portreeve.referral.v1.AgreementService",
        &[
            ("CreateAgreement", APPROVER),
            ("AcceptAgreement", APPROVER),
            ("ExtendAgreement", APPROVER),
            ("SuspendAgreement", APPROVER),
            ("ResumeAgreement", APPROVER),
            ("GiveNotice", APPROVER),
            ("GetAgreement", EVERYBODY),
            ("ListAgreements", EVERYBODY),
        ],
    ),
    (
        "portreeve.referral.v1.ReferralService",
        &[
            ("CreateReferral", OFFICER),
            ("BatchCreateReferrals", OFFICER),
            ("ImportReferrals", &[Role::Officer, Role::Import]),
            ("WithdrawReferral", OFFICER),
            ("LinkReferrals", OFFICER),
            ("PrioritiseReferral", OFFICER),
            ("ExtendNonDisclosure", OFFICER),
            ("LiftNonDisclosure", OFFICER),
            ("GetReferral", EVERYBODY),
            ("ListReferrals", EVERYBODY),
            ("WatchReferrals", EVERYBODY),
            ("ListReferralChanges", EVERYBODY),
        ],
    ),
    (
        "portreeve.referral.v1.SigningService",
        &[
            ("GetSigningProfile", EVERYBODY),
            ("AddSigningKey", APPROVER),
            ("RevokeSigningKey", APPROVER),
            ("SetSigningPolicy", APPROVER),
        ],
    ),
    (
        "portreeve.referral.v1.MeasureService",
        &[
            ("ImposeMeasure", SUPERVISOR),
            ("AppealMeasure", APPROVER),
            ("DecideAppeal", SUPERVISOR),
            ("LiftMeasure", SUPERVISOR),
            ("GetMeasure", EVERYBODY),
            ("ListMeasures", EVERYBODY),
        ],
    ),
    (
        "portreeve.referral.v1.OperationService",
        &[
            ("CreateOperation", APPROVER),
            ("UpdateOperation", APPROVER),
            ("JoinOperation", APPROVER),
            ("LeaveOperation", APPROVER),
            ("CloseOperation", APPROVER),
            ("GetOperation", EVERYBODY),
            ("ListOperations", EVERYBODY),
        ],
    ),
    (
        "portreeve.referral.v1.ReviewFlagService",
        &[
            ("FlagReferral", OVERSIGHT),
            ("AnswerReviewFlag", APPROVER),
            ("GetReviewFlag", EVERYBODY),
            ("ListReviewFlags", EVERYBODY),
        ],
    ),
    ("portreeve.referral.v1.PreNoticeService", &[("GivePreNotice", OFFICER), ("ListPreNotices", EVERYBODY)]),
    ("portreeve.referral.v1.ObservationService", &[("RecordObservation", OFFICER), ("ListObservations", EVERYBODY)]),
    (
        "portreeve.referral.v1.DraftService",
        &[
            ("CreateDraft", OFFICER),
            ("UpdateDraft", OFFICER),
            ("AuthoriseDraft", APPROVER),
            ("DiscardDraft", OFFICER),
            ("GetDraft", EVERYBODY),
            ("ListDrafts", EVERYBODY),
        ],
    ),
    (
        "portreeve.referral.v1.DeconflictionService",
        &[
            ("RegisterInterests", OFFICER),
            ("RenewInterest", OFFICER),
            ("EndInterest", OFFICER),
            ("GetInterest", EVERYBODY),
            ("ListInterests", EVERYBODY),
            ("CheckTargets", OFFICER),
            ("ReleaseHold", OFFICER),
            ("RenewHold", OFFICER),
            ("OverrideHolds", APPROVER),
            ("ListHolds", EVERYBODY),
        ],
    ),
    (
        "portreeve.referral.v1.AuthorisationService",
        &[("GetAuthorisationPolicy", EVERYBODY), ("SetAuthorisationPolicy", APPROVER)],
    ),
    (
        "portreeve.referral.v1.EvidenceService",
        &[
            ("UploadEvidence", OFFICER),
            ("DeleteEvidence", OFFICER),
            ("GetEvidence", EVERYBODY),
            ("ListEvidence", EVERYBODY),
            ("DownloadEvidence", EVERYBODY),
        ],
    ),
    ("portreeve.referral.v1.LegalBasisService", &[("ListLegalBases", EVERYBODY)]),
    ("portreeve.referral.v1.AddressRuleService", &[("GetAddressRules", EVERYBODY), ("SetAddressRules", OPERATOR)]),
    (
        "portreeve.referral.v1.RetentionService",
        &[("GetRetentionPolicy", EVERYBODY), ("SetRetentionPolicy", APPROVER), ("EraseReferral", APPROVER)],
    ),
    (
        "portreeve.decision.v1.DecisionService",
        &[
            ("ListCases", EVERYBODY),
            ("GetCase", EVERYBODY),
            ("WatchCases", EVERYBODY),
            ("ListCaseChanges", EVERYBODY),
            ("AcknowledgeCases", REVIEWER),
            ("RecordDecision", REVIEWER),
            ("BatchRecordDecisions", REVIEWER),
            ("ListDecisions", EVERYBODY),
            ("WatchDecisions", EVERYBODY),
            ("ListDecisionChanges", EVERYBODY),
            ("ExportStatements", EVERYBODY),
        ],
    ),
    (
        "portreeve.decision.v1.ChallengeService",
        &[
            ("FileChallenge", CHALLENGERS),
            ("AcknowledgeChallenge", REVIEWER),
            ("BeginChallengeReview", REVIEWER),
            ("DecideChallenge", REVIEWER),
            ("ReferChallenge", CHALLENGERS),
            ("RecordExternalOutcome", CHALLENGERS),
            ("ImplementChallenge", REVIEWER),
            ("CloseChallenge", CHALLENGERS),
            ("GetChallenge", EVERYBODY),
            ("ListChallenges", EVERYBODY),
        ],
    ),
    (
        "portreeve.decision.v1.StayService",
        &[
            ("RequestInformation", REVIEWER),
            ("AnswerInformation", OFFICER),
            ("ReportImpediment", REVIEWER),
            ("EndImpediment", REVIEWER),
        ],
    ),
    (
        "portreeve.decision.v1.InboxService",
        &[("WatchInbox", REVIEWER), ("LeaseCases", REVIEWER), ("ReleaseCases", REVIEWER)],
    ),
    (
        "portreeve.decision.v1.ClockService",
        &[
            ("ListClocks", EVERYBODY),
            ("WatchClocks", EVERYBODY),
            ("ListClockChanges", EVERYBODY),
            ("SetResponseTimes", POLICY_EDITOR),
            ("GetResponseTimes", EVERYBODY),
        ],
    ),
    (
        "portreeve.decision.v1.PolicyService",
        &[
            ("CreateClause", POLICY_EDITOR),
            ("AddClauseVersion", POLICY_EDITOR),
            ("GetClause", EVERYBODY),
            ("ListClauses", EVERYBODY),
            ("ListClauseVersions", EVERYBODY),
        ],
    ),
    (
        "portreeve.reporting.v1.ReportingService",
        &[
            ("QueryReport", EVERYBODY),
            ("WatchReport", EVERYBODY),
            ("ExportReport", EVERYBODY),
            ("QueryFlow", EVERYBODY),
            ("QueryRecurrence", EVERYBODY),
            ("QuerySurvival", EVERYBODY),
            ("ListMeasures", EVERYBODY),
        ],
    ),
    (
        "portreeve.reporting.v1.PublicationService",
        &[("PublishReport", PUBLISHERS), ("GetPublication", EVERYBODY), ("ListPublications", EVERYBODY)],
    ),
    (
        "portreeve.reporting.v1.GrantService",
        &[("IssueGrant", SUPERVISOR), ("RevokeGrant", SUPERVISOR), ("GetGrant", EVERYBODY), ("ListGrants", EVERYBODY)],
    ),
    (
        "portreeve.audit.v1.AuditService",
        &[
            ("GetCheckpoint", EVERYBODY),
            ("GetInclusionProof", EVERYBODY),
            ("GetConsistencyProof", EVERYBODY),
            ("ListLogEntries", EVERYBODY),
        ],
    ),
    ("portreeve.consultation.v1.ConsultationService", &[("ListConsultations", AUDITORS)]),
];

/// Reads of what everybody may know who takes part. Every other read is recorded in an access log; a test calls each.
pub const PUBLIC_READS: &[&str] = &[
    "portreeve.referral.v1.OrganisationService/GetOrganisation",
    "portreeve.referral.v1.OrganisationService/ListOrganisations",
    // What agencies agree on is the parties' to know, and tells of no person.
    "portreeve.referral.v1.AgreementService/GetAgreement",
    "portreeve.referral.v1.AgreementService/ListAgreements",
    // An operation is its agencies' to know, and tells of no person.
    "portreeve.referral.v1.OperationService/GetOperation",
    "portreeve.referral.v1.OperationService/ListOperations",
    "portreeve.referral.v1.SigningService/GetSigningProfile",
    // For how long an agency keeps its referrals tells of no person.
    "portreeve.referral.v1.RetentionService/GetRetentionPolicy",
    // What an agency demands of its own referrals tells of no person, and the law is everybody's.
    "portreeve.referral.v1.AuthorisationService/GetAuthorisationPolicy",
    "portreeve.referral.v1.LegalBasisService/ListLegalBases",
    // How long a platform says that it takes tells of no person.
    "portreeve.decision.v1.ClockService/GetResponseTimes",
    // How a platform spells its addresses tells of no target.
    "portreeve.referral.v1.AddressRuleService/GetAddressRules",
    "portreeve.decision.v1.PolicyService/GetClause",
    "portreeve.decision.v1.PolicyService/ListClauses",
    "portreeve.decision.v1.PolicyService/ListClauseVersions",
    "portreeve.reporting.v1.ReportingService/ListMeasures",
    // What oversight grants is its own and the grantee's to know, and tells of no person.
    "portreeve.reporting.v1.GrantService/GetGrant",
    "portreeve.reporting.v1.GrantService/ListGrants",
    // What was published is everybody's.
    "portreeve.reporting.v1.PublicationService/GetPublication",
    "portreeve.reporting.v1.PublicationService/ListPublications",
    "portreeve.audit.v1.AuditService/GetCheckpoint",
    "portreeve.audit.v1.AuditService/GetConsistencyProof",
];

/// The roles that may call a method; `None` if the table does not know it.
pub fn roles(service: &str, method: &str) -> Option<&'static [Role]> {
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, roles)| *roles)
}

/// Refuses a caller who holds none of the roles.
pub fn require(caller: &Principal, roles: &[Role]) -> Result<()> {
    if roles.iter().any(|role| caller.has(*role)) {
        return Ok(());
    }
    let names = roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",");
    let organisation = caller.organisation();
    Err(portreeve_core::Error::new(
        Reason::PermissionDenied,
        format!("{organisation} may not do this without one of these roles: {names}"),
    )
    .with("organisation", organisation)
    .with("roles", names))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portreeve_core::Principal;

    use super::*;
    use crate::layers::methods::Methods;

    /// What each role may do beyond reading, said once more by hand.
    const WRITES: [(Role, &[&str]); 8] = [
        (
            Role::Approver,
            &[
                "AcceptAgreement",
                "AddSigningKey",
                "AnswerReviewFlag",
                "AppealMeasure",
                "AuthoriseDraft",
                "CloseOperation",
                "CreateAgreement",
                "CreateOperation",
                "EraseReferral",
                "ExtendAgreement",
                "GiveNotice",
                "JoinOperation",
                "LeaveOperation",
                "OverrideHolds",
                "PublishReport",
                "ResumeAgreement",
                "RevokeSigningKey",
                "SetAuthorisationPolicy",
                "SetRetentionPolicy",
                "SetSigningPolicy",
                "SuspendAgreement",
                "UpdateOperation",
            ],
        ),
        (
            Role::Officer,
            &[
                "AnswerInformation",
                "BatchCreateReferrals",
                "CheckTargets",
                "CloseChallenge",
                "CreateDraft",
                "CreateReferral",
                "DeleteEvidence",
                "DiscardDraft",
                "EndInterest",
                "ExtendNonDisclosure",
                "FileChallenge",
                "GivePreNotice",
                "ImportReferrals",
                "LiftNonDisclosure",
                "LinkReferrals",
                "PrioritiseReferral",
                "RecordExternalOutcome",
                "RecordObservation",
                "ReferChallenge",
                "RegisterInterests",
                "ReleaseHold",
                "RenewHold",
                "RenewInterest",
                "UpdateDraft",
                "UploadEvidence",
                "WithdrawReferral",
            ],
        ),
        (Role::Import, &["ImportReferrals"]),
        (
            Role::Reviewer,
            &[
                "AcknowledgeCases",
                "AcknowledgeChallenge",
                "BatchRecordDecisions",
                "BeginChallengeReview",
                "CloseChallenge",
                "DecideChallenge",
                "EndImpediment",
                "FileChallenge",
                "ImplementChallenge",
                "LeaseCases",
                "PublishReport",
                "RecordDecision",
                "RecordExternalOutcome",
                "ReferChallenge",
                "ReleaseCases",
                "ReportImpediment",
                "RequestInformation",
            ],
        ),
        (Role::PolicyEditor, &["AddClauseVersion", "CreateClause", "SetResponseTimes"]),
        (Role::Analyst, &["FlagReferral"]),
        (
            Role::Supervisor,
            &[
                "CloseChallenge",
                "DecideAppeal",
                "FileChallenge",
                "FlagReferral",
                "ImposeMeasure",
                "IssueGrant",
                "LiftMeasure",
                "PublishReport",
                "RecordExternalOutcome",
                "ReferChallenge",
                "RevokeGrant",
            ],
        ),
        (Role::Operator, &["CreateOrganisation", "SetAddressRules", "UpdateOrganisation"]),
    ];

    /// Reads that are not for everybody.
    const AUDITED: [(&str, &[Role]); 2] =
        [("ListConsultations", &[Role::Auditor, Role::Analyst]), ("WatchInbox", &[Role::Reviewer])];

    fn methods() -> Methods {
        Methods::read(&[portreeve_api::FILE_DESCRIPTOR_SET]).unwrap()
    }

    #[test]
    fn the_table_has_every_method_of_the_contract_and_no_other() {
        let methods = methods();
        let contract =
            methods.iter().filter(|(path, _)| path.starts_with("/portreeve.")).map(|(path, _)| path.to_owned());
        let of_service = |(service, methods): &(&str, &[(&str, &[Role])])| {
            methods.iter().map(|(method, _)| format!("/{service}/{method}")).collect::<Vec<_>>()
        };
        let table = TABLE.iter().flat_map(of_service).collect::<Vec<_>>();
        let set = table.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(contract.collect::<BTreeSet<_>>(), set);
        assert_eq!(set.len(), table.len(), "a method twice");
    }

    #[test]
    fn who_writes_what() {
        let mut written = BTreeSet::<&str>::new();
        for (role, names) in WRITES {
            let may = TABLE.iter().flat_map(|(_, methods)| *methods);
            let read = |name: &str| AUDITED.iter().any(|(audited, _)| *audited == name);
            let may = may.filter(|(name, roles)| roles.contains(&role) && roles.len() < Role::ALL.len() && !read(name));
            assert_eq!(
                may.map(|(name, _)| *name).collect::<BTreeSet<_>>(),
                names.iter().copied().collect(),
                "{role:?}"
            );
            written.extend(names);
        }
        let reads = TABLE.iter().flat_map(|(_, methods)| *methods).filter(|(name, _)| !written.contains(name));
        let verbs = ["Get", "List", "Watch", "Query", "Export", "Download"];
        for (name, roles) in reads {
            assert!(verbs.iter().any(|verb| name.starts_with(verb)), "{name}");
            let of = AUDITED.iter().find(|(audited, _)| audited == name).map_or(EVERYBODY, |(_, roles)| roles);
            assert_eq!(*roles, of, "{name}");
        }
    }

    #[test]
    fn the_refusal_names_the_roles_that_may() {
        let reviewer = Principal::new("platforms/hb".parse().unwrap(), "", &["reviewer"]).unwrap();
        assert!(require(&reviewer, REVIEWER).is_ok());
        let refused = require(&reviewer, &[Role::Officer, Role::Approver]).unwrap_err();
        assert_eq!(refused.reason(), Reason::PermissionDenied);
        assert!(refused.metadata().contains(&("roles", "officer,approver".to_owned())), "{refused:?}");
    }
}
