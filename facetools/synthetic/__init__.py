"""Drawn faces with known attributes: test data that needs no download.

`draw_faces` draws faces, `write_celeba` writes a data set in CelebA's layout, and `sample_attributes` samples
attributes with CelebA's frequencies.
"""

from facetools.synthetic.canvas import SIZE
from facetools.synthetic.dataset import write_celeba
from facetools.synthetic.drawing import draw_face, draw_faces
from facetools.synthetic.sampling import sample_attributes

__all__ = ["SIZE", "draw_face", "draw_faces", "sample_attributes", "write_celeba"]
