"""Export the network of a checkpoint as ONNX, for other programs. Run it as a module:

python -m facetools.commands.export run/best.pt -o best.onnx
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetools.commands.job import Job
from facetools.commands.options import OUTPUT
from facetools.commands.outputs import check_distinct, check_output
from facetools.commands.running import command


@command
def export(
    job: Job,
    model: Annotated[str, typer.Argument(metavar="FILE", help="A checkpoint of fa-train with MobileNetV2.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="ONNX", help="File to write.", rich_help_panel=OUTPUT)
    ],
) -> None:
    """Export the network of a checkpoint as ONNX.

    Input: `pixels`, uint8 (n, height, width, 3), RGB. Output: `scores`, float32 (n, attributes), 0 to 1. The metadata
    entry `attributes` names the attributes. The network includes the scaling of pixels and the averaging with the
    mirror image.
    \f
    Examples:
      python -m facetools.commands.export run/best.pt -o best.onnx
    """
    from facetools.network import checkpoint
    from facetools.network.onnx import build_onnx_model
    from facetools.table import streams

    check_output(output)
    check_distinct({"--output": output}, [model])
    content = build_onnx_model(checkpoint.read_checkpoint(Path(model))).SerializeToString()
    with streams.open_output(output) as stream:
        stream.write(content)
    job.done(f"wrote {output}")


main = export

if __name__ == "__main__":
    main()
