"""Read what model files say about themselves, as data: nothing is loaded, executed or believed beyond the file's size."""
