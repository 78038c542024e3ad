"""The spine, and everything that makes a piece of work once and finds it again."""
