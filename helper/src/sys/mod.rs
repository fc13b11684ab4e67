//! System calls. The only module in which `unsafe` may stand, each with its SAFETY reason.

pub mod close;
pub mod process;
pub mod signal;
