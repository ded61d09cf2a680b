"""What people say about frames: the schema, the log of events, agreement."""
