"""What `onrecord check` tries, one file a kind of peer."""
