"""The face table that flows between commands: columns, encodings, attribute names, CelebA's lists."""
