"""What programs do whose words are a language of their own; one file a group."""
