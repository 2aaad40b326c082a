"""What was understood of neural data: in words, as a table, as a figure; what a file holds, what is left to say."""
