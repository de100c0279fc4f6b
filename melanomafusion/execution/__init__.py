"""Running independent tasks, each in a process of its own."""
