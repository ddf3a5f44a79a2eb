"""Rules that people can read: the regime in words, trees and lists of a named class, families of thresholds."""
