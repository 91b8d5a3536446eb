"""What the client tells about itself: log, events, health. Imports nothing above it."""
