"""What the broker knows: partition logs, topics, groups, offsets. No I/O here; one thread calls it."""
