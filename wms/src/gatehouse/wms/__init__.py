"""WMS: the job and pilot service that puts it all to work."""
