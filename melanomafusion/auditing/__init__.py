"""What is wrong with a data set before anything is trained on it: leaks, duplicates, columns that tell the label."""
