"""Self-supervised methods on one base, one file a method."""
