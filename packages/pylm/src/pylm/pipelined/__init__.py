"""Kept for its import path; the originals had nothing here."""
