"""Other clients against our broker, and ours against theirs; they need bench/requirements.txt (`make test-peers`)."""
