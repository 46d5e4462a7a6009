"""What each fix would take away from the steps of a trace."""
