//! limopack keeps only the kernel modules that a machine needs.
fn main() {}
