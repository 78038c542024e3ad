"""What the runtimes that read ONNX share: the export, and a look at the file before a runtime reads it."""
