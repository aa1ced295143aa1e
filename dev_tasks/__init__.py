"""What the developer does often: the tasks behind ./dev, one module each."""
