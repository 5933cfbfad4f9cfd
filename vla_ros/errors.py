"""Errors that are the user's to mend: the command line prints them as one line, no traceback."""


class UserError(Exception):
    """Something a user can mend; the message says what was expected, what came, the choices."""


class LimitsError(ValueError):
    """Limits that cannot be meant; the message names the field."""


class RobotError(ValueError):
    """A robot's file that cannot be used; the message names the file, the field and the choices."""
