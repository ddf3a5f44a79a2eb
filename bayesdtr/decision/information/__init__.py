"""What knowing more is worth: all parameters, some of them, a further trial."""
