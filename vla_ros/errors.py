"""Errors that are the user's to mend: the command line prints them as one line, no traceback."""


class UserError(Exception):
    """Something a user can mend; the message says what was expected, what came, the choices."""
