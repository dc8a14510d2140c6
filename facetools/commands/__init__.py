"""The commands, one file each: parse options, call the library, write the result."""
