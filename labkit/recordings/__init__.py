"""Recordings of the course: how they are written, how they lie on disk, how they are played back."""
