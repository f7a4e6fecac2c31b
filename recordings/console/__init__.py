"""The console: a Textual app over a store that is only read. Panes in widgets/, what opens over them in screens/."""
