//! Record batches from the outside: what is sealed is what is decoded, and whatever comes in, nothing panics.

mod batches;
mod codecs;
mod hostile;
mod message_sets;
mod properties;
mod support;
