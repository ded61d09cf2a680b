"""Embeddings, their projection to two dimensions, and what is near in them."""
