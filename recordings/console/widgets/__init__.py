"""The console's panes, one file each."""
