//! The two ways in which a layer can be refused.

use crate::error::Failure;

const STEP: &str = "read the layer";

/// The archive, or its compression, is malformed.
pub fn invalid(detail: impl Into<String>) -> Failure {
    Failure::kind(STEP, "layer-invalid").detail(detail)
}

/// The archive may be well formed, but goes beyond what is accepted.
pub fn limit(detail: impl Into<String>) -> Failure {
    Failure::kind(STEP, "layer-limit").detail(detail)
}
