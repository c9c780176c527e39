"""Flows: what happens, in prose. They call tasks, and tasks call synthcore."""
