"""Base: what every room may need and none owns. Errors, progress, text, and how to write a file whole."""
