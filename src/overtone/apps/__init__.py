"""What people meet: ``prompt`` the interactive classifier in a terminal."""
