"""What people and programs see: web pages, REST API, sign-in."""
