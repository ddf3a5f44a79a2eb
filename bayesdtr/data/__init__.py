"""The door in: any data frame becomes arrays with codes, once."""

from .cells import CellCount, cell_counts
from .door import read, read_new
from .frames import backend, like
from .scales import fix_scales
from .trajectories import Trajectories, due
from .walk import gaps

__all__ = ["CellCount", "Trajectories", "backend", "cell_counts", "due", "fix_scales", "gaps", "like", "read", "read_new"]
