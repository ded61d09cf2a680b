"""Find the sources of a map: finders of one interface, and how good they are."""
