//! The contract of Portreeve in Rust: messages, clients and servers generated from `proto/`, and what every client needs
//! besides them. No logic of the domain.
//!
//! - [`common`], [`audit`], [`consultation`], [`referral`], [`decision`], [`reporting`]: the generated code, by package.
//! - [`validate`]: every rule of the contract that a request breaks.
//! - [`clients`]: clients with the right limits that say who is acting.
//! - [`signing`]: what an agency's signature covers.
//! - [`watch`]: streams that outlive their connections.

/// Includes a package's code, as prost and tonic generate it, with the lints that it does not keep.
macro_rules! generated_package {
    ($package:literal $(, $lint:path)*) => {
        #[doc = concat!("`", $package, "`")]
        $(#[expect($lint, reason = "generated code")])*
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
        }
    };
}

pub mod clients;
pub mod signing;
pub mod validate;
pub mod watch;

/// What the services share.
pub mod common {
    generated_package!("portreeve.common.v1");
}

/// Proofs of the services' logs.
pub mod audit {
    generated_package!("portreeve.audit.v1", clippy::allow_attributes, clippy::default_trait_access);
}

/// Who read what.
pub mod consultation {
    generated_package!("portreeve.consultation.v1", clippy::allow_attributes, clippy::default_trait_access);
}

/// Organisations and referrals.
pub mod referral {
    generated_package!("portreeve.referral.v1", clippy::allow_attributes, clippy::default_trait_access);
}

/// Cases, decisions and the policy catalogue.
pub mod decision {
    generated_package!("portreeve.decision.v1", clippy::allow_attributes, clippy::default_trait_access);
}

/// Reports.
pub mod reporting {
    generated_package!(
        "portreeve.reporting.v1",
        clippy::allow_attributes,
        clippy::default_trait_access,
        clippy::large_enum_variant
    );
}

/// The descriptors of the contract and of everything that it imports: a serialised `google.protobuf.FileDescriptorSet`
/// without comments, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));

/// Validators, generated from the rules in the contract.
#[expect(
    clippy::allow_attributes,
    clippy::borrow_deref_ref,
    clippy::collapsible_if,
    clippy::expect_used,
    clippy::len_zero,
    clippy::unreadable_literal,
    clippy::used_underscore_binding,
    reason = "generated code"
)]
mod rules {
    // The generator names types by their package, which begins with the name of the project.
    use crate as portreeve;

    include!(concat!(env!("OUT_DIR"), "/validate_impl.rs"));
}
