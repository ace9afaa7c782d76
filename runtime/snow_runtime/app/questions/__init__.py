"""What is asked about which part of a camera's picture, and when."""
