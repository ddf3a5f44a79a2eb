"""One recommendation explained: what drove it, what would flip it, patients like this one, how far it extrapolates."""
