"""Drawn faces with known attributes: the embedded data set of the demo and of the tests."""

from facetools.synthetic.canvas import SIZE
from facetools.synthetic.drawing import draw_face, draw_faces
from facetools.synthetic.layout import write_celeba
from facetools.synthetic.sampling import sample_attributes

__all__ = ["SIZE", "draw_face", "draw_faces", "sample_attributes", "write_celeba"]
