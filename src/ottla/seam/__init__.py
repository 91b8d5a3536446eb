"""The seam: every value that crosses between Python and Rust, as a named type. Leaf; any thread.

Rust makes and reads these values by the names of their fields (`crates/native/src/seam.rs`), so both sides have the same names,
and a field that one side lacks fails the first test that crosses. `src/ottla/_native.pyi` has the methods that take and return
them.
"""
