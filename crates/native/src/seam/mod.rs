//! The seam: values that cross between Python and Rust. The classes are Python's, in `ottla.seam`, one module here for each
//! there; a field has the same name on both sides.

pub mod settings;
