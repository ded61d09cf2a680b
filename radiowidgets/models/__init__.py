"""Networks: encoders, augmentations, optimizers and self-supervised training, all in Keras 3 alone.

Nothing here is imported with the package: Keras costs seconds, and some of its users never need it.
"""
