"""What a run says to people: the table as stages finish, and one HTML page with the evidence."""
