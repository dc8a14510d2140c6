"""Photographs: find faces and their landmarks, and crop them as CelebA does."""
