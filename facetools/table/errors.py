"""The base of the errors that say what is wrong with an input."""


class InputError(ValueError):
    """The content of a file or pipe is not valid; the message says where and why."""
