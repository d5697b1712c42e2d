"""The commands of the command line, one file each; thin: parse, call one function, show."""
