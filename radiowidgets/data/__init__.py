"""Maps, frames and catalogues: where the pixels come from."""
