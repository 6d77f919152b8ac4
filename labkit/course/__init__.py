"""The labs in their order: where each starts, what it must have shown at its end, and its exercise."""
