"""The Kubernetes API through the HTTP gateway: requests understood, decided, masked and on record."""
