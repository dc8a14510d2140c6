"""Images: where they come from, how they are decoded, augmented, cached and written."""
