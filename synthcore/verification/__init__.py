"""Verification: rendering rows again and comparing every bit, and trying whether silent controls are silent."""
