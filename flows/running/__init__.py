"""Running: what runs the flows. Commands, servers, workers, runners and the display; the flows lie above."""
