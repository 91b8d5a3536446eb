"""The application's side of consumers and groups: what runs in the threads or tasks of the user."""
