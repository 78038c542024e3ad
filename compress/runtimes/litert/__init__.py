"""LiteRT, which was TensorFlow Lite: for phones and small devices."""
