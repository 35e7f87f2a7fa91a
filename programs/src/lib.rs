//! Core data: programs, what they demand of a hit, and the registry that holds them.
mod id;
mod import;
mod landing;
mod program;
pub mod registry;
pub mod rfc3339;
pub mod rules;

pub use id::{InvalidProgramId, PROGRAM_ID_BYTES_MAX, ProgramId};
pub use import::{IMPORT_ERRORS_MAX, ImportError, PROGRAM_BYTES_MAX, read_programs};
pub use landing::{FallbackUrl, InvalidUrl, LandingUrl, URL_BYTES_MAX};
pub use program::{Invalid, Program, TEXT_BYTES_MAX};
pub use registry::{
    Change, Changes, Entry, Epoch, ImportReport, LocalRegistry, Notice, Put, Refused, Registry,
    RegistryError, Snapshot, State, Subscription, Version, Versioned,
};
pub use rules::{ParameterKind, ParameterRule, ParameterRules};

/// The AWS sample's three programs (212312, 212313, 212314), with landing URLs and
/// without revisions; the first start of a machine imports them.
pub fn samples() -> Vec<Program> {
    read_programs(include_str!("samples.json")).expect("the file is part of the program and tested")
}
