"""What can go wrong between a robot and its policy's server."""


class RemoteError(ConnectionError):
    """The server cannot be reached, refuses, or answers what cannot be used."""


class ConnectionLostError(RemoteError):
    """Nothing is wrong with the question: asking again later may help."""


class MessageError(ValueError):
    """Bytes that are no message of the protocol; the message says what was expected."""
