"""The pilot: runs on a worker node, asks the gate for one job, runs it, and brings its output home."""
