"""What is known of program text without running it: language, brackets, syntax, where a unit ends."""
