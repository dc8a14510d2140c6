"""Parts of decoding: file formats that need more than Pillow, metadata, sample ranges and color profiles."""
