//! Record batches from the outside: a sealed batch can be decoded, and no input causes a panic.

mod batches;
mod codecs;
mod hostile;
mod message_sets;
mod properties;
mod support;
