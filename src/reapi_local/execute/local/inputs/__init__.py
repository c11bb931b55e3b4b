"""Input roots as directories: made from blobs, kept as layers that many roots share."""
