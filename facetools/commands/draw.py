"""Draw faces with known attributes in CelebA's layout: the data of the demo and the tests. Run it as a module:

python -m facetools.commands.draw drawn/ --faces 3000 --seed 0
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetools.commands.job import Job, pluralize
from facetools.commands.options import OUTPUT, read_size_option
from facetools.commands.outputs import check_folder
from facetools.commands.running import command


@command
def draw(
    job: Job,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder to create.")],
    faces: Annotated[int, typer.Option(metavar="N", min=1, help="Number of faces.", rich_help_panel=OUTPUT)] = 3000,
    size: Annotated[
        str,
        typer.Option(metavar="SIZE", help="Size of the images in pixels, N or HEIGHTxWIDTH.", rich_help_panel=OUTPUT),
    ] = "218x178",
    valid_share: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=0.9, help="Share of faces for validation.", rich_help_panel=OUTPUT),
    ] = 0.1,
    test_share: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=0.9, help="Share of faces for testing.", rich_help_panel=OUTPUT),
    ] = 0.1,
) -> None:
    """Draw faces with known attributes.

    Writes img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt to DIR. The same options give the
    same bytes.
    \f
    Examples:
      python -m facetools.commands.draw drawn/ --faces 3000 --seed 0
      fa-train drawn/ -o run --weights none --image-size 64
    """
    from facetools.runtime import files
    from facetools.synthetic import write_celeba
    from facetools.synthetic.dataset import check_replaceable

    shape = read_size_option("--size", size)
    assert shape is not None
    if valid_share + test_share > 1:
        raise typer.BadParameter("the sum of --valid-share and --test-share is over 1")
    check_folder(folder, "DIR")
    check_replaceable(Path(folder))
    write_celeba(files.make_folder(folder), faces, job.seed, shape, test_share, valid_share, job.jobs)
    job.done(f"wrote {pluralize(faces, 'face')} to {Path(folder)}")


main = draw

if __name__ == "__main__":
    main()
