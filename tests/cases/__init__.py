"""Files and command lines from public bug reports: each ends in the right result, or a true message."""
