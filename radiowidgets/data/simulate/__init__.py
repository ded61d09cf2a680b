"""Mock skies with full truth."""
