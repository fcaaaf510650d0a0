"""The commands, a module a part of the work. To add one, write it where its part is."""
