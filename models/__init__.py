"""The gallery: one worked study a file, imported as `bayesdtr.gallery`."""
