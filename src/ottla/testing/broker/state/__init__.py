"""The state of the broker: partition logs, topics, groups, offsets. No I/O; one thread calls it."""
