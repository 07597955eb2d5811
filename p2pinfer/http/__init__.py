"""What the programs with a web server share: how they listen, answer, stay safe and stop."""
