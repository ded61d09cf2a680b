"""Named, interpretable numbers of frames and sources."""
