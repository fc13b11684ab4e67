//! System calls. The only module in which `unsafe` may stand, each with its SAFETY reason.
