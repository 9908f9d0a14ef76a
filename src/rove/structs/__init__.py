"""The nouns of Rove, a file each. They hold values and no behaviour beyond reading themselves."""
