//! The wire between Node and the helper; see docs/helper-protocol.md.
