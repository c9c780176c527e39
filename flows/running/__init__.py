"""Running: what runs the flows. Servers, workers, runners and the display; the flows themselves lie above."""
