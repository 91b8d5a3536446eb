"""Group membership: state machines without I/O, and the assignors that share partitions out."""
