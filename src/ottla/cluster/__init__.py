"""The cluster as this client knows it: metadata, connections to its nodes, coordinators."""
