"""Draws faces with known attributes, in CelebA's layout: the data of the demo. Run it as a module:

python -m facetools.commands.draw drawn/ --faces 3000 --seed 0
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetools.commands.job import Job, pluralize
from facetools.commands.options import parse_image_size
from facetools.commands.running import command


@command
def draw(
    job: Job,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder to make.")],
    faces: Annotated[int, typer.Option(metavar="N", min=1, help="Faces to draw.")] = 3000,
    size: Annotated[str, typer.Option(metavar="SIZE", help="Pixels, HEIGHTxWIDTH.")] = "218x178",
    valid_share: Annotated[float, typer.Option(metavar="SHARE", min=0, max=0.9, help="Share for validation.")] = 0.1,
    test_share: Annotated[float, typer.Option(metavar="SHARE", min=0, max=0.9, help="Share for the test.")] = 0.1,
) -> None:
    """Draw faces with known attributes.

    Writes img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt to DIR. The same seed gives the same
    bytes.
    \f
    Examples:
      python -m facetools.commands.draw drawn/ --faces 3000 --seed 0
      fa-train drawn/ -o run --weights none --image-size 64
    """
    from facetools.runtime import files
    from facetools.synthetic import write_celeba

    try:
        shape = parse_image_size(size)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if valid_share + test_share > 1:
        raise typer.BadParameter("--valid-share and --test-share are more than all faces")
    write_celeba(files.make_folder(folder), faces, job.seed, shape, test_share, valid_share, job.jobs)
    job.done(f"{pluralize(faces, 'drawn face is', 'drawn faces are')} in {Path(folder)}")


main = draw

if __name__ == "__main__":
    main()
