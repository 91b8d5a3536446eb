//! The consumer's byte path: the wire format, the flow by scripts, its takers, and random interleavings.

mod broker;
mod lanes;
mod random;
mod script;
mod takers;
mod truncation;
mod wire;
