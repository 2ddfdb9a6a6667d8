"""Places: key frames known again when the camera comes back, loops closed over them, and segments joined."""
