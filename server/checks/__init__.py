"""What `radmeter doctor` looks at, by subject; `radmeter status` shows what the quick ones find."""
