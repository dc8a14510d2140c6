"""The face table that commands exchange: columns, encodings, attribute names, labels and CelebA's lists."""
