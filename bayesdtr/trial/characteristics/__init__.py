"""What the simulated trials say of a design."""
