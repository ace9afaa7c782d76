"""What machine this is: its NVIDIA driver and GPUs, and which Jetson."""
