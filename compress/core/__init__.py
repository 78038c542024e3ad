"""The project's words as small typed classes. No torch model code and no work: everything else imports from here."""
