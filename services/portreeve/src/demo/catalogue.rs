//! Who takes part in the demo: invented platforms with invented policies, modelled on what was said in evidence. Offers
//! of smuggling were banned, while asking for it and telling how to leave a country were permitted; one of the policies
//! changes in December 2022, as a real one did.

use portreeve_core::time::Timestamp;

/// The agency that refers.
pub(super) const AGENCY: (&str, &str) = ("agencies/nca", "National Crime Agency");
/// The body that asks for the figures.
pub(super) const OVERSIGHT: (&str, &str) = ("oversightBodies/home-affairs", "Home Affairs Committee");
/// Who registers the others.
pub(super) const OPERATOR: &str = "operators/local";

/// A platform of the demo.
#[derive(Debug)]
pub(super) struct Platform {
    /// The last part of its name.
    pub(super) id: &'static str,
    /// Its name for people.
    pub(super) display_name: &'static str,
    /// The host of its pages.
    pub(super) host: &'static str,
    /// Its policy.
    pub(super) clauses: &'static [Clause],
}

impl Platform {
    /// Its name.
    pub(super) fn name(&self) -> String {
        format!("platforms/{}", self.id)
    }
}

/// A clause of a policy.
#[derive(Debug)]
pub(super) struct Clause {
    /// The last part of its name.
    pub(super) id: &'static str,
    /// What it is about.
    pub(super) title: &'static str,
    /// Its versions from the first.
    pub(super) versions: &'static [Version],
}

/// A version of a clause.
#[derive(Debug)]
pub(super) struct Version {
    /// The day on which it comes into force.
    pub(super) from: &'static str,
    /// What it says.
    pub(super) text: &'static str,
    /// What it permits.
    pub(super) permits: &'static str,
}

/// The platforms.
pub(super) const PLATFORMS: &[Platform] = &[
    Platform {
        id: "harbourbook",
        display_name: "Harbourbook",
        host: "harbourbook.example",
        clauses: &[
            Clause {
                id: "smuggling-offers",
                title: "Offers to smuggle people",
                versions: &[Version {
                    from: "2018-05-25",
                    text: "Do not offer to smuggle people or to assist in it.",
                    permits: "",
                }],
            },
            Clause {
                id: "requests",
                title: "Requests for smuggling services",
                versions: &[
                    Version {
                        from: "2018-05-25",
                        text: "People may ask for help to be smuggled.",
                        permits: "Asking for help to be smuggled",
                    },
                    Version { from: "2022-12-12", text: "Do not ask for smuggling services.", permits: "" },
                ],
            },
            Clause {
                id: "leaving",
                title: "Information on leaving a country",
                versions: &[Version {
                    from: "2019-02-01",
                    text: "Information on how to leave a country unlawfully may be shared where no assistance is offered.",
                    permits: "Information on leaving a country unlawfully, without an offer of assistance",
                }],
            },
            Clause {
                id: "false-documents",
                title: "False documents",
                versions: &[Version { from: "2017-01-01", text: "Do not sell or seek forged documents.", permits: "" }],
            },
        ],
    },
    Platform {
        id: "chirrup",
        display_name: "Chirrup",
        host: "chirrup.example",
        clauses: &[
            Clause {
                id: "illegal-services",
                title: "Illegal goods and services",
                versions: &[Version {
                    from: "2019-04-01",
                    text: "Chirrup may not be used to promote unlawful services.",
                    permits: "",
                }],
            },
            Clause {
                id: "public-conversation",
                title: "Public conversation",
                versions: &[Version {
                    from: "2019-04-01",
                    text: "People may speak of leaving their country and ask for help with it.",
                    permits: "Speaking of leaving a country, and asking for help with it",
                }],
            },
        ],
    },
    Platform {
        id: "lensgram",
        display_name: "Lensgram",
        host: "lensgram.example",
        clauses: &[
            Clause {
                id: "exploitation",
                title: "Human exploitation",
                versions: &[Version {
                    from: "2018-09-01",
                    text: "Do not promote, offer or recruit for the smuggling of people.",
                    permits: "",
                }],
            },
            Clause {
                id: "asking-for-help",
                title: "Asking for help",
                versions: &[
                    Version {
                        from: "2018-09-01",
                        text: "People may ask for help to leave a country.",
                        permits: "Asking for help to leave a country, by whatever way",
                    },
                    Version {
                        from: "2022-12-12",
                        text: "People may ask for help to leave a country, but not for smuggling services.",
                        permits: "Asking for help to leave a country other than smuggling services",
                    },
                ],
            },
        ],
    },
];

/// The number, from 1, of the version that is in force at an instant.
pub(super) fn version_at(clause: &Clause, instant: Timestamp) -> Option<u32> {
    let in_force = |version: &&Version| version.from.parse::<Timestamp>().is_ok_and(|from| from <= instant);
    u32::try_from(clause.versions.iter().take_while(in_force).count()).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_reserved_and_versions_in_order() {
        for platform in PLATFORMS {
            assert!(platform.host.ends_with(".example"));
            for clause in platform.clauses {
                assert!(clause.versions.windows(2).all(|pair| pair[0].from < pair[1].from), "{}", clause.id);
                assert!(clause.versions.iter().all(|version| version.from.parse::<Timestamp>().is_ok()));
            }
        }
    }

    #[test]
    fn the_version_in_force_depends_on_the_day() {
        let requests = PLATFORMS[0].clauses.iter().find(|clause| clause.id == "requests");
        let at = |day: &str| requests.and_then(|clause| version_at(clause, day.parse().unwrap()));
        assert_eq!(
            (at("2018-05-24"), at("2018-05-25"), at("2022-12-11"), at("2022-12-12")),
            (None, Some(1), Some(1), Some(2))
        );
    }
}
