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
