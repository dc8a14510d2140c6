"""Writes a checkpoint as an ONNX file, for programs that know nothing of facetools. Run it as a module:

python -m facetools.commands.export run/best.pt -o best.onnx
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetools.commands.job import Job
from facetools.commands.running import command


@command
def export(
    job: Job,
    model: Annotated[str, typer.Argument(metavar="FILE", help="A checkpoint of fa-train, of MobileNetV2.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="ONNX", help="Where the network is written.")],
) -> None:
    """Write the network of a checkpoint as an ONNX file.

    It takes `pixels`, uint8 (n, height, width, 3) in RGB, and gives `scores`, float32 (n, attributes) from 0 to 1;
    `attributes` in its metadata names them. Scaling of pixels and averaging with the mirror image are part of it.
    \f
    Examples:
      python -m facetools.commands.export run/best.pt -o best.onnx
    """
    from facetools.network import checkpoint
    from facetools.network.onnx import build_onnx_model
    from facetools.runtime import files

    files.write_atomically(output, build_onnx_model(checkpoint.read_checkpoint(Path(model))).SerializeToString())
    job.done(f"{output} is written")


main = export

if __name__ == "__main__":
    main()
