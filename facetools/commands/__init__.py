"""The commands, one file each: parse options, call the library, write the result."""

import os
import signal
import sys
from types import FrameType


def _exit_silently(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


# While a command imports its modules, Ctrl-C ends it without a traceback. `running` installs the real handler later.
# The program is "-m" while `python -m facetools.commands.NAME` imports this package.
_program = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119  pathlib takes longer to import
if (_program == "-m" or _program.startswith("fa-")) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _exit_silently)
