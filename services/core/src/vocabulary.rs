//! The field's words that every service uses, with the numbers under which the contract and the databases know them.

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The value's number in the contract and in the databases.
            pub const fn code(self) -> i32 {
                match self { $(Self::$variant => $code),* }
            }

            /// The value of a number; `None` for a number that this release does not know.
            pub const fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

coded! {
    /// What a referral is in law. A referral must never look like an order.
    Nature {
        /// An alert for the platform's voluntary consideration against its own terms.
        VoluntaryReferral = 1,
        /// A notice under statute that may create actual knowledge (DSA art. 16).
        StatutoryNotice = 2,
        /// A binding order (TCO art. 3, DSA art. 9).
        Order = 3,
    }
}

coded! {
    /// How much of something there is.
    PriorityLevel {
        /// Little.
        Low = 1,
        /// Some.
        Moderate = 2,
        /// Much.
        Substantial = 3,
        /// As much as there can be.
        Severe = 4,
    }
}

impl PriorityLevel {
    /// What it counts in a score: 1 to 4.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Moderate => 2,
            Self::Substantial => 3,
            Self::Severe => 4,
        }
    }
}

coded! {
    /// How much depends on nobody disturbing what an agency has an interest in.
    InterestPriority {
        /// An inquiry would be disturbed.
        Routine = 1,
        /// An operation would be lost.
        High = 2,
        /// Somebody's life depends on it.
        Critical = 3,
    }
}

coded! {
    /// Under which law an order is issued.
    OrderRegime {
        /// A removal order (TCO art. 3).
        Tco = 1,
        /// An order to act against illegal content (DSA art. 9).
        Dsa = 2,
        /// An order under the law of a state.
        National = 3,
    }
}

coded! {
    /// Why content of organised immigration crime is referred.
    Ground {
        /// Transport by sea is offered.
        OfferTransportSea = 1,
        /// Transport in a vehicle is offered.
        OfferTransportVehicle = 2,
        /// Transport by air, or a route by documents, is offered.
        OfferTransportAirOrDocumentRoute = 3,
        /// Forged documents are offered.
        ForgedDocuments = 4,
        /// A sham marriage is offered.
        ShamMarriage = 5,
        /// Help with a false claim is offered.
        FalseClaimService = 6,
        /// Illegal work is offered.
        IllegalWorkOffer = 7,
        /// Skippers, drivers or other facilitators are sought.
        RecruitmentOfFacilitators = 8,
        /// Money is moved for smuggling.
        FinancialFacilitation = 9,
        /// Success stories promote a smuggler.
        TestimonialPromotion = 10,
        /// A reward is offered for bringing others.
        ReferAFriendInducement = 11,
        /// A network instructs on a route.
        RouteInstructionByNetwork = 12,
        /// A person asks to be smuggled: the policy gap of 2020.
        SolicitationOfService = 13,
        /// Information on leaving a country, without an offer.
        InformationOnLeaving = 14,
        /// A journey is documented.
        DocumentationOfJourney = 15,
        /// A sign of human trafficking, which is not smuggling.
        HumanTraffickingIndicator = 16,
        /// Extortion of, or violence against, migrants.
        ExtortionOrViolenceVsMigrants = 17,
    }
}

coded! {
    /// What whoever looked at a target found.
    ObservationFinding {
        /// It is there for everybody.
        Live = 1,
        /// It is not there.
        Gone = 2,
        /// It is not shown in the country from which it was looked at.
        GeoBlocked = 3,
        /// It is shown to who has signed in.
        LoginWall = 4,
        /// It is shown to who says their age.
        AgeWall = 5,
        /// It could not be told.
        Unknown = 6,
        /// The content is there again as another target.
        Reappeared = 7,
    }
}

coded! {
    /// How a target was looked at.
    ObservationMethod {
        /// A person looked.
        Manual = 1,
        /// A program looked.
        Automated = 2,
    }
}

coded! {
    /// A context that the law protects: the defences of the Border Security, Asylum and Immigration Act 2025, ss. 16 and 17.
    Defence {
        /// The information is for a journey of one's own.
        OwnJourney = 1,
        /// Journalism.
        Journalism = 2,
        /// Academic research.
        Academic = 3,
        /// Rescue from danger.
        Rescue = 4,
        /// Medical care, or emergency shelter or supplies.
        MedicalOrShelter = 5,
        /// An organisation that helps asylum seekers without payment; information on asylum.
        NonChargingAsylumOrganisation = 6,
    }
}

impl Defence {
    /// The word of the contract, without its prefix.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OwnJourney => "OWN_JOURNEY",
            Self::Journalism => "JOURNALISM",
            Self::Academic => "ACADEMIC",
            Self::Rescue => "RESCUE",
            Self::MedicalOrShelter => "MEDICAL_OR_SHELTER",
            Self::NonChargingAsylumOrganisation => "NON_CHARGING_ASYLUM_ORGANISATION",
        }
    }
}

coded! {
    /// What a check found of a protected context.
    Finding {
        /// The content is not of it.
        DoesNotApply = 1,
        /// The content is of it, and exempt.
        Applies = 2,
        /// It may be.
        Uncertain = 3,
    }
}

coded! {
    /// How far a referral may travel among partners (Traffic Light Protocol 2.0). Grows with the restriction.
    Tlp {
        /// To everybody.
        Clear = 1,
        /// Within the community.
        Green = 2,
        /// Within the recipient's organisation and its clients.
        Amber = 3,
        /// Within the recipient's organisation.
        AmberStrict = 4,
        /// To the addressed recipients alone.
        Red = 5,
    }
}

coded! {
    /// The United Kingdom's security classifications. What is above the second is never taken.
    Classification {
        /// OFFICIAL.
        Official = 1,
        /// OFFICIAL-SENSITIVE.
        OfficialSensitive = 2,
        /// SECRET.
        Secret = 3,
        /// TOP SECRET.
        TopSecret = 4,
    }
}

coded! {
    /// How reliable the source is (3x5x2).
    SourceGrade {
        /// Reliable.
        Reliable = 1,
        /// Untested.
        Untested = 2,
        /// Not reliable.
        NotReliable = 3,
    }
}

coded! {
    /// How the information is assessed (3x5x2).
    Assessment {
        /// Known directly to the source.
        KnownDirectly = 1,
        /// Known indirectly, but corroborated.
        KnownIndirectlyCorroborated = 2,
        /// Known indirectly.
        KnownIndirectly = 3,
        /// Not known.
        NotKnown = 4,
        /// Suspected to be false.
        SuspectedFalse = 5,
    }
}

coded! {
    /// For what a partner may read.
    Purpose {
        /// To prevent or detect crime.
        PreventionAndDetection = 1,
        /// To investigate an offence.
        Investigation = 2,
        /// To prosecute an offence.
        Prosecution = 3,
        /// To protect the life or safety of people.
        Safeguarding = 4,
        /// To oversee how powers are used.
        Oversight = 5,
    }
}

impl Purpose {
    /// The purpose as request metadata names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreventionAndDetection => "prevention-and-detection",
            Self::Investigation => "investigation",
            Self::Prosecution => "prosecution",
            Self::Safeguarding => "safeguarding",
            Self::Oversight => "oversight",
        }
    }

    /// The purpose that request metadata names.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|purpose| purpose.name() == name)
    }
}

coded! {
    /// What of a referral is shared beyond what always is.
    FieldGroup {
        /// The address and the platform's identifier of the target.
        Target = 1,
        /// The statement of reasons, and the reason of a withdrawal.
        Reasons = 2,
        /// The law on which it rests.
        LegalBasis = 3,
        /// Grades, handling code and conditions.
        Grade = 4,
        /// The platform's answer.
        Decision = 5,
        /// Counts in reports.
        Figures = 6,
    }
}

impl FieldGroup {
    /// The groups that can be erased, each by itself.
    pub const ERASABLE: [Self; 3] = [Self::Target, Self::Reasons, Self::Grade];
}

coded! {
    /// For how long a group of fields is kept, after MISP's retention taxonomy.
    RetentionClass {
        /// A day.
        OneDay = 1,
        /// Two days.
        TwoDays = 2,
        /// Seven days.
        SevenDays = 3,
        /// Two weeks.
        TwoWeeks = 4,
        /// One month, of 30 days.
        OneMonth = 5,
        /// Two months, of 60 days.
        TwoMonths = 6,
        /// Three months, of 90 days.
        ThreeMonths = 7,
        /// Six months, of 180 days.
        SixMonths = 8,
        /// A year, of 365 days.
        OneYear = 9,
        /// Ten years, of 3,650 days.
        TenYears = 10,
    }
}

impl RetentionClass {
    /// For how many days.
    pub const fn days(self) -> i64 {
        match self {
            Self::OneDay => 1,
            Self::TwoDays => 2,
            Self::SevenDays => 7,
            Self::TwoWeeks => 14,
            Self::OneMonth => 30,
            Self::TwoMonths => 60,
            Self::ThreeMonths => 90,
            Self::SixMonths => 180,
            Self::OneYear => 365,
            Self::TenYears => 3_650,
        }
    }
}

coded! {
    /// Why a group of fields was erased.
    EraseCause {
        /// The agency asked for it.
        Request = 1,
        /// Its time was over.
        Retention = 2,
    }
}

coded! {
    /// What becomes of shared data once its agreement has ended.
    AfterEnd {
        /// It stays readable, as it stood at the end.
        Keep = 1,
        /// It stays, and nobody reads it under this agreement.
        Freeze = 2,
        /// It is out of reach for good.
        Delete = 3,
    }
}

coded! {
    /// What a measure against misuse does.
    MeasureKind {
        /// It says that there was misuse.
        Warning = 1,
        /// It takes the right to refer away for a time.
        Suspension = 2,
    }
}

coded! {
    /// How grave a misuse is, with its consequences (DSA art. 23(3)(c)).
    MisuseGravity {
        /// Hardly any consequence.
        Minor = 1,
        /// Somebody suffered from it.
        Serious = 2,
        /// So grave that no warning need come first.
        Exceptional = 3,
    }
}

coded! {
    /// With what intention the right to refer was misused, where that can be told (DSA art. 23(3)(d)).
    MisuseIntent {
        /// By mistake.
        Mistaken = 1,
        /// Without the care that was due.
        Negligent = 2,
        /// On purpose.
        Deliberate = 3,
    }
}

coded! {
    /// What became of an appeal against a measure.
    AppealOutcome {
        /// The measure stands.
        Upheld = 1,
        /// The suspension ends earlier.
        Shortened = 2,
        /// The measure is taken back.
        Lifted = 3,
    }
}

coded! {
    /// What came of a review that oversight asked for.
    ReviewOutcome {
        /// The referral was kept.
        Kept = 1,
        /// It was withdrawn.
        Withdrawn = 2,
        /// It was withdrawn, and sent anew as it should have been.
        Corrected = 3,
        /// There is no such referral.
        NoSuchReferral = 4,
    }
}

coded! {
    /// How a referral stands to another.
    LinkKind {
        /// It goes on with the same target.
        Follows = 1,
        /// It takes the place of the other.
        Supersedes = 2,
        /// Both are of one network.
        SameNetwork = 3,
        /// The other was the first of an operation with the same target; made by the ledger alone.
        SameTarget = 4,
    }
}

impl LinkKind {
    /// Whether what has the link goes on with the other.
    pub const fn goes_on(self) -> bool {
        matches!(self, Self::Follows | Self::Supersedes)
    }
}

coded! {
    /// What kind of thing is referred.
    TargetKind {
        /// A page.
        Page = 1,
        /// An account.
        Account = 2,
        /// A group.
        Group = 3,
        /// A channel.
        Channel = 4,
        /// A post.
        Post = 5,
        /// A comment.
        Comment = 6,
        /// A video.
        Video = 7,
        /// A live broadcast.
        Live = 8,
        /// An advertisement.
        Ad = 9,
        /// An event.
        Event = 10,
        /// A listing in a marketplace.
        Listing = 11,
        /// A link that invites into a group or a conversation.
        InviteLink = 12,
        /// A telephone number.
        PhoneNumber = 13,
    }
}

impl TargetKind {
    /// Whether it may be where nobody has an address for it: in closed spaces and messengers.
    pub const fn may_have_no_address(self) -> bool {
        matches!(self, Self::Group | Self::Channel | Self::PhoneNumber)
    }
}

coded! {
    /// How evidence was come by.
    CaptureMethod {
        /// From what everybody can see.
        OpenSource = 1,
        /// By an officer under another identity.
        Undercover = 2,
        /// By somebody who takes part and came forward.
        MemberReport = 3,
        /// From a seized device.
        SeizedDevice = 4,
        /// By a platform that disclosed it.
        PlatformDisclosure = 5,
        /// From another authority.
        PartnerAuthority = 6,
        /// By intercepting it.
        Interception = 7,
        /// Otherwise.
        Other = 8,
    }
}

coded! {
    /// What was taken out of evidence.
    RedactionLevel {
        /// Nothing.
        None = 1,
        /// What names people.
        PersonalData = 2,
        /// Whatever could identify a person.
        Identity = 3,
        /// All but what shows the breach.
        Extract = 4,
    }
}

coded! {
    /// To whom evidence is served: each to more than the one before.
    EvidenceGrade {
        /// To its agency only.
        AgencyOnly = 1,
        /// To the platforms of the referrals that carry it, too.
        Platform = 2,
    }
}

coded! {
    /// How hard it is to look at evidence.
    GraphicSeverity {
        /// Nothing that distresses.
        None = 1,
        /// Injuries, distress or threats.
        Moderate = 2,
        /// Death, torture or sexual violence.
        Severe = 3,
    }
}

coded! {
    /// Where a referral stands, as reports count it. Every referral is in exactly one at any moment.
    Disposition {
        /// Sent, not yet acknowledged.
        Submitted = 1,
        /// Acknowledged, not yet decided.
        Received = 2,
        /// Closed, wholly or in part.
        Closed = 3,
        /// Left open: not in breach of the platform's rules.
        NotViolating = 4,
        /// Left open: a clause of the platform's policy permits it.
        PermittedByPolicy = 5,
        /// Left reachable with a label, an age limit or less reach.
        Restricted = 6,
        /// No action: not enough information.
        InsufficientInfo = 7,
        /// No action: the platform cannot see the content.
        CannotAccess = 8,
        /// No action: it was gone already.
        AlreadyGone = 9,
        /// No action: another referral covers it.
        Duplicate = 10,
        /// No action: not on the platform's service.
        NotOurService = 11,
        /// No action: the authority was not accepted.
        InvalidAuthority = 12,
        /// No action: a protected context.
        Protected = 13,
        /// No action: impossible to act.
        Impossible = 14,
        /// Withdrawn by the agency.
        Withdrawn = 15,
    }
}

/// The four buckets into which every report divides what was referred. They always add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Closed.
    Closed,
    /// Left open as not in breach.
    NotInBreach,
    /// No decision yet.
    Undecided,
    /// Everything else; each in a column of its own.
    Other,
}

impl Disposition {
    /// The published rule of attrition: which bucket counts the referral.
    pub const fn bucket(self) -> Bucket {
        match self {
            Self::Submitted | Self::Received => Bucket::Undecided,
            Self::Closed => Bucket::Closed,
            Self::NotViolating | Self::PermittedByPolicy => Bucket::NotInBreach,
            Self::Restricted
            | Self::InsufficientInfo
            | Self::CannotAccess
            | Self::AlreadyGone
            | Self::Duplicate
            | Self::NotOurService
            | Self::InvalidAuthority
            | Self::Protected
            | Self::Impossible
            | Self::Withdrawn => Bucket::Other,
        }
    }
}
