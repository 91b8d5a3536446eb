"""The application's side of consumers and groups, which runs in the threads or tasks of the user."""
